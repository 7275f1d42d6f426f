"""`pipeline erase`."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.erase import EraseConfig
from pipeline.errors import EXIT_DONE, EXIT_NOTHING_NEW

if TYPE_CHECKING:
    from schemas.run import Receipt


@config_command(EraseConfig)
def erase(config: EraseConfig, finish: Finish) -> None:
    """Erase reviews for good, as when a customer asks for it.

    Removes them from all versions of the table, from rejects, predictions, and the pages and lists of models. The next
    ingest skips them, even if the files still hold them. Says what it could not reach, such as the files themselves and
    models trained on them. Cannot be undone. Exits with 99 if the lake holds nothing of them.

    Example: pipeline erase --review-id order-4711 --dry-run
    """
    from jobs import erase as job

    if not (config.yes or config.dry_run) and sys.stdin.isatty():
        found = job.run(replace(config, dry_run=True))
        if found.exit_code == EXIT_DONE and not _confirmed(found):
            typer.echo("Nothing was erased.", err=True)
            raise typer.Exit(EXIT_NOTHING_NEW)
    finish(job.run(config))


def _confirmed(found: "Receipt") -> bool:
    """Shows what would be erased, and asks."""
    from pipeline.cli.summary import summary

    for line in summary(found).lines():
        typer.echo(line, err=True)
    try:
        return typer.confirm("Erase for good?", err=True)
    except typer.Abort:  # the terminal was closed, or Ctrl-D
        typer.echo(err=True)
        return False
