"""`pipeline init`."""

import typer

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish, print_json
from pipeline.config.init import InitConfig
from pipeline.printable import printable, short_path
from pipeline.readers.registry import described


@config_command(InitConfig, words=lambda: {"formats": described()})
def init(config: InitConfig, finish: Finish) -> None:
    """Inspect files and write a matching pipeline.toml into the lake.

    ingest, score, evaluate and report then read such files without further options. Reads the first rows of files,
    folders and globs of {formats}. Columns given here are not guessed. The file explains each option; edit it freely.

    Example: pipeline init exports/reviews.csv
    """
    from pipeline.process import collector_paused

    with collector_paused():
        from jobs import init as job

    done = job.run(config)
    if finish.as_json:
        print_json(
            done.inspection.to_json()
            | {"written": str(done.path), "settings": done.settings, "next_commands": done.next_commands}
        )
        return
    from pipeline.cli.findings import show

    show(done.inspection)
    typer.echo(f"\nWrote {printable(short_path(done.path))}.{' Next:' if done.next_commands else ''}")
    for command in done.next_commands:
        typer.echo(f"  {printable(command)}")
