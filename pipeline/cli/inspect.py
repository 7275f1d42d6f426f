"""`pipeline inspect`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish, print_json
from pipeline.config.inspect import InspectConfig
from pipeline.readers.registry import described


@config_command(InspectConfig, words=lambda: {"formats": described()})
def inspect(config: InspectConfig, finish: Finish) -> None:
    """Look at files: their columns, and what ingest would reject.

    Guesses which columns hold text, label, id and group, and writes nothing.

    Reads the first rows of files, folders and globs of {formats}. Where all files are unreadable, it ends with 65.

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
