"""`pipeline inspect`."""

from pipeline.cli.app import finish_json
from pipeline.cli.derive import config_command
from pipeline.config.inspect import InspectConfig
from pipeline.readers.registry import described


@config_command(InspectConfig, words=lambda: {"formats": described()})
def inspect(config: InspectConfig) -> None:
    """Look at files: columns, guesses for text, label, id and group, and what ingest would reject. Writes nothing.

    Reads the first rows of files, folders and globs of {formats}. Where all files are unreadable, it ends with 65.

    Example: pipeline inspect exports/reviews.csv
    """
    from pipeline.process import collector_paused

    with collector_paused():
        from jobs import inspect as job

    found = job.run(config)
    if config.as_json:
        finish_json(found.to_json())
    elif len(found.all_faults) > 1 or not found.nothing_readable:
        from pipeline.cli.findings import show

        show(found)
    found.check_readable()
