"""`pipeline retract`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.retract import RetractConfig


@config_command(RetractConfig)
def retract(config: RetractConfig, finish: Finish) -> None:
    """Take back what a run of ingest brought.

    Removes its rows from the table in one commit; rows that it replaced come back as they were. Rows that a later run
    replaced stay. The next ingest skips the retracted rows, even if the files still hold them. Names the models that were
    trained on them. Exits with 99 if nothing is left of the run.

    Example: pipeline retract latest --dry-run
    """
    from jobs import retract as job

    finish(job.run(config))
