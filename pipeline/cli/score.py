"""`pipeline score`."""

from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of


@app.command()
def score(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...", help="Files, folders and patterns; - for stdin, a review a line.", show_default=False
        ),
    ] = None,
    lake: LakeOption = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="REVIEW", help="Score this review and print the answer; may be repeated.", show_default=False),
    ] = None,
    model: Annotated[str, typer.Option(help="LATEST, the id of a model in the lake, or the path of a bundle.")] = "LATEST",
    output: Annotated[
        str | None,
        typer.Option(
            help="File to write: .parquet, .csv, .jsonl, the latter two also .gz, .zst, .bz2; - for stdout."
            "  [default: predictions/INPUT.parquet in the lake]",
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        str | None, typer.Option(help="parquet, csv or jsonl.  [default: by suffix; jsonl on stdout]", show_default=False)
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="Read named files, or stdin, in this format.  [default: by suffix; lines on stdin]", show_default=False
        ),
    ] = None,
    text_column: Annotated[
        str, typer.Option(metavar="COLUMN,…", help="Columns of tables that hold the review, joined by line breaks.")
    ] = "text",
    delimiter: Annotated[
        str | None, typer.Option(metavar="CHAR", help="Between the values of a CSV file.  [default: detected]")
    ] = None,
    quote: Annotated[
        str | None, typer.Option(metavar="CHAR|none", help="Around the values of a CSV file.  [default: detected]")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of CSV files, such as cp1252.  [default: detected]")] = None,
    keep: Annotated[
        str, typer.Option(metavar="COLUMN,…", help="Columns of the input to keep: all, none, or names with commas.")
    ] = "all",
    abstain_below: Annotated[
        float | None,
        typer.Option(metavar="P", help="Leave rows without a prediction whose probability is below this.  [default: none]"),
    ] = None,
    settle: Annotated[
        float, typer.Option(metavar="SECONDS", help="Leave files alone that were written less than this ago.")
    ] = 0.0,
    max_bad: Annotated[
        str, typer.Option(metavar="SHARE|N", help="Malformed rows that are allowed, such as 5% or 100.")
    ] = "5%",
    max_bad_files: Annotated[
        str | None,
        typer.Option(metavar="SHARE|N", help="Unreadable files that are allowed.  [default: all but one]"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Allow no malformed row and no unreadable file.")] = False,
    batch_size: Annotated[
        int, typer.Option(help="Size of a batch, in reviews of 200 tokens; shorter ones share more.")
    ] = 64,
    workers: Annotated[
        int | None,
        typer.Option(help="Threads that read and tokenize.  [default: half the cores, 4 at most]", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16; auto is fp32.")] = "auto",
    explain: Annotated[
        bool, typer.Option("--explain", help="Add the tokens that weigh most for the prediction; many times slower.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Score again, and overwrite whatever file is there.")] = False,
) -> None:
    """Score reviews with a trained model.

    Reads what 'pipeline ingest' reads. Keeps the rows' order and the input's columns and adds prediction, probability,
    a probability for each class, model_id and unscored_reason. A row without text, or without a token that the model
    knows, gets no prediction. Several files make one output; a file that cannot be read is left out and named. Ends with
    99 when the output is there already, made from the same input by the same model.

    Example: pipeline score reviews.csv --text-column body --output scored.csv
    """
    from jobs import score as job

    config = job.ScoreConfig(
        lake=lake_of(context, lake).root,
        sources=tuple(sources or ()),
        text=tuple(text or ()),
        model=model,
        output=output,
        output_format=output_format,
        format=format,
        text_column=tuple(name.strip() for name in text_column.split(",")),
        delimiter=delimiter,
        quote=quote,
        encoding=encoding,
        keep=tuple(name.strip() for name in keep.split(",") if name.strip()),
        abstain_below=abstain_below,
        settle=settle,
        max_bad=max_bad,
        max_bad_files=max_bad_files,
        strict=strict,
        batch_size=batch_size,
        workers=workers,
        device=device,
        precision=precision,
        explain=explain,
        force=force,
    )
    if config.text:
        for answer in job.answers(config):
            typer.echo(answer.line())
        return
    finish(job.run(config), to_stderr=config.to_stdout)
