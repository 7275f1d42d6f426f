"""`pipeline score`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of


@app.command()
def score(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="INPUT.parquet", help="A Parquet file, or a folder of them.")],
    lake: LakeOption = None,
    model: Annotated[str, typer.Option(help="LATEST, the id of a model in the lake, or the path of a bundle.")] = "LATEST",
    output: Annotated[
        Path | None,
        typer.Option(help="File to write.  [default: predictions/INPUT.parquet in the lake]", show_default=False),
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column that holds the review.")] = "text",
    keep: Annotated[
        str, typer.Option(metavar="COLUMN,…", help="Columns of the input to keep: all, none, or names with commas.")
    ] = "all",
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
    """Score a Parquet file of raw reviews.

    Keeps the rows' order and the input's columns and adds prediction, probability and model_id. Text is tokenized with
    the model's own vocabulary. A row without text gets no prediction. Ends with 99 when the output is there already,
    made from the same input by the same model.

    Example: pipeline score incoming/reviews.parquet --text-column body
    """
    from jobs import score as job

    config = job.ScoreConfig(
        lake=lake_of(context, lake).root,
        source=source.expanduser(),
        model=model,
        output=output,
        text_column=text_column,
        keep=tuple(name.strip() for name in keep.split(",") if name.strip()),
        batch_size=batch_size,
        workers=workers,
        device=device,
        precision=precision,
        explain=explain,
        force=force,
    )
    finish(job.run(config))
