"""`pipeline inspect`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish, print_json
from pipeline.config.inspect import InspectConfig
from pipeline.readers.registry import described


@config_command(InspectConfig, words=lambda: {"formats": described()})
def inspect(config: InspectConfig, finish: Finish) -> None:
    """Show the columns of files, and what ingest would reject.

    Guesses the columns for text, label, ID and group. Writes nothing.

    Reads the first rows of files, folders and globs of {formats}. Rows count from 0, without a header.
    Exits with 65 if no file can be read.

    Example: pipeline inspect exports/reviews.csv
    """
    from pipeline.process import collector_paused

    with collector_paused():
        from jobs import inspect as job

    found = job.run(config)
    if finish.as_json:
        print_json(found.to_json())
    elif len(found.all_faults) > 1 or not found.nothing_readable:
        from pipeline.cli.findings import show

        show(found)
    found.check_readable()
