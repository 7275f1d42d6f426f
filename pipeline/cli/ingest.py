"""`pipeline ingest`."""

from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of
from schemas.tokenizers import DEFAULT_TOKENIZER, TOKENIZERS

_TOKENIZERS = "; ".join(f"{name}: {summary}" for name, summary in TOKENIZERS.items())


@app.command()
def ingest(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Files and folders.  [default: the lake's raw/]", show_default=False),
    ] = None,
    lake: LakeOption = None,
    tokenizer: Annotated[
        str | None, typer.Option(help=f"{_TOKENIZERS}.  [default: the lake's, else {DEFAULT_TOKENIZER}]")
    ] = None,
    max_vocab: Annotated[
        int | None, typer.Option(help="Most tokens in a new vocabulary; 0 for all.  [default: the lake's, else 30000]")
    ] = None,
    min_count: Annotated[
        int | None, typer.Option(help="Least occurrences of a token in a new vocabulary.  [default: the lake's, else 1]")
    ] = None,
    text_column: Annotated[str, typer.Option(help="Column of tables that holds the review.")] = "text",
    label_column: Annotated[
        str | None, typer.Option(help="Column that holds the label.  [default: label, where there is one]")
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
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Leave out, and count, content that stands elsewhere.")] = False,
    max_bad_rows: Annotated[
        int | None, typer.Option(help="Commit nothing when more rows than this are bad.  [default: no limit, but not all]")
    ] = None,
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

    config = job.IngestConfig(
        lake=lake_of(context, lake).root,
        sources=tuple(sources or ()),
        tokenizer=tokenizer,
        max_vocab=max_vocab,
        min_count=min_count,
        text_column=text_column,
        label_column=label_column,
        id_column=id_column,
        group_column=group_column,
        split_column=split_column,
        split=split,
        dedupe=dedupe,
        max_bad_rows=max_bad_rows,
        rebuild_vocab=rebuild_vocab,
        workers=workers,
        dry_run=dry_run,
    )
    finish(job.run(config))
