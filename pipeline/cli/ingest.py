"""`pipeline ingest`."""

from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of


@app.command()
def ingest(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Files and folders.  [default: the lake's raw/]", show_default=False),
    ] = None,
    lake: LakeOption = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="basic_english or punctuation.  [default: the lake's, else basic_english]")
    ] = None,
    max_vocab: Annotated[
        int | None, typer.Option(help="Most tokens in a new vocabulary; 0 for all.  [default: the lake's, else 30000]")
    ] = None,
    min_count: Annotated[
        int | None, typer.Option(help="Least occurrences of a token in a new vocabulary.  [default: the lake's, else 1]")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="Read named files in this format, whatever their suffix.  [default: by suffix]")
    ] = None,
    text_column: Annotated[
        str, typer.Option(metavar="COLUMN,…", help="Columns of tables that hold the review, joined by line breaks.")
    ] = "text",
    label_column: Annotated[
        str | None, typer.Option(help="Column that holds the label.  [default: label, where there is one]")
    ] = None,
    label_map: Annotated[
        str | None,
        typer.Option(metavar="CLASS=VALUE,…", help="Classes for labels: 'neg=1,2 pos=4,5'.  [default: labels as they are]"),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Column that identifies a review.  [default: source and row]")
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column of what a validation split must not tear apart.  [default: none]")
    ] = None,
    split_column: Annotated[
        str | None, typer.Option(help="Column that holds train, valid, test or unsup.  [default: none]")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split of reviews whose source tells none.  [default: train when labelled, else unsup]"),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(metavar="CHAR", help="Between the values of a CSV file.  [default: detected]")
    ] = None,
    quote: Annotated[
        str | None, typer.Option(metavar="CHAR|none", help="Around the values of a CSV file.  [default: detected]")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of CSV files, such as cp1252.  [default: detected]")
    ] = None,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Leave out, and count, content that stands elsewhere.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove rows of the lake that their file no longer holds.")
    ] = False,
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
    max_bad_rows: Annotated[int | None, typer.Option(help="Same as --max-bad N.  [default: none]")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Allow no malformed row and no unreadable file.")] = False,
    rebuild_vocab: Annotated[
        bool, typer.Option("--rebuild-vocab", help="Make the vocabulary anew; the sources must hold every known review.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Worker threads; 0 for none.  [default: one a core]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count, write nothing.")] = False,
) -> None:
    """Raw reviews to token shards and a vocabulary.

    Reads folders of .txt (SPLIT/LABEL/N_STARS.txt, as aclImdb lays them out, tells split, label and stars), .tar
    archives of them without unpacking, .csv, .tsv, .jsonl (each also .gz, .zst, .bz2) and .parquet. What is known
    already is passed over, what changed is replaced, what is bad lands in rejects/ with its reason.

    Example: pipeline ingest reviews.csv.gz --label-column sentiment --id-column order_id
    """
    from jobs.runtime import collector_paused

    with collector_paused():
        from jobs import ingest as job
        from pipeline.readers.labels import LabelMap

    config = job.IngestConfig(
        lake=lake_of(context, lake).root,
        sources=tuple(sources or ()),
        tokenizer=tokenizer,
        max_vocab=max_vocab,
        min_count=min_count,
        format=format,
        text_column=tuple(name.strip() for name in text_column.split(",")),
        label_column=label_column,
        label_map=None if label_map is None else LabelMap.parse(label_map),
        id_column=id_column,
        group_column=group_column,
        split_column=split_column,
        split=split,
        delimiter=delimiter,
        quote=quote,
        encoding=encoding,
        dedupe=dedupe,
        prune=prune,
        settle=settle,
        max_bad=max_bad,
        max_bad_files=max_bad_files,
        strict=strict,
        max_bad_rows=max_bad_rows,
        rebuild_vocab=rebuild_vocab,
        workers=workers,
        dry_run=dry_run,
    )
    finish(job.run(config))
