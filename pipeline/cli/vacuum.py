"""`pipeline vacuum`."""

from typing import Annotated

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of


@app.command()
def vacuum(
    context: typer.Context,
    lake: LakeOption = None,
    keep_hours: Annotated[
        int, typer.Option(help="Versions, unfinished trainings and damaged files younger than this stay.")
    ] = 168,
    models: Annotated[
        bool, typer.Option("--models", help="Delete old models too; the live one and those that predictions name stay.")
    ] = False,
    keep: Annotated[int, typer.Option(help="With --models: how many of the newest stay.")] = 5,
    runs: Annotated[
        bool, typer.Option("--runs", help="Delete old run records too, but for those that committed reviews.")
    ] = False,
    keep_days: Annotated[int, typer.Option(help="With --runs: records younger than this stay.")] = 90,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name the files, delete none.")] = False,
) -> None:
    """Delete token shards that no kept version of the table needs, and what dead runs left.

    Example: pipeline vacuum --keep-hours 720 --models --keep 10
    """
    from jobs import vacuum as job

    config = job.VacuumConfig(
        lake=lake_of(context, lake).root,
        keep_hours=keep_hours,
        models=models,
        keep=keep,
        runs=runs,
        keep_days=keep_days,
        dry_run=dry_run,
    )
    finish(job.run(config))
