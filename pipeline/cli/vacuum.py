"""`pipeline vacuum`."""

from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of


@app.command()
def vacuum(
    context: typer.Context,
    lake: LakeOption = None,
    keep_hours: Annotated[int, typer.Option(help="Versions younger than this stay readable.")] = 168,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name the files, delete none.")] = False,
) -> None:
    """Delete token shards that no kept version of the table needs.

    Example: pipeline vacuum --keep-hours 720
    """
    from jobs import vacuum as job

    finish(job.run(job.VacuumConfig(lake=lake_of(context, lake).root, keep_hours=keep_hours, dry_run=dry_run)))
