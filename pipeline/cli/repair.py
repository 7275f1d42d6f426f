"""`pipeline repair`."""

from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of


@app.command()
def repair(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...", help="Where the reviews are.  [default: what earlier runs read]", show_default=False
        ),
    ] = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on without reviews that no source holds any more.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(help="Threads.  [default: one for each core]", min=0, show_default=False)
    ] = None,
    lake: LakeOption = None,
) -> None:
    """Make a damaged lake whole again: the table's log, shards and vocabulary, LATEST, run records.

    Reviews of damaged shards are read again from their sources and committed at once. Ends with 99 when nothing is damaged.

    Example: pipeline doctor --verify || pipeline repair
    """
    from jobs import repair as job

    config = job.RepairConfig(
        lake=lake_of(context, lake).root, sources=tuple(sources or ()), accept_loss=accept_loss, workers=workers
    )
    finish(job.run(config))
