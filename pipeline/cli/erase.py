"""`pipeline erase`."""

import sys
from dataclasses import replace

import typer

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.erase import EraseConfig


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
        from pipeline.cli.summary import summary

        for line in summary(job.run(replace(config, dry_run=True))).lines():
            typer.echo(line, err=True)
        typer.confirm("Erase them for good?", abort=True, err=True)
    finish(job.run(config))
