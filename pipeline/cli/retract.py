"""`pipeline retract`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.retract import RetractConfig


@config_command(RetractConfig)
def retract(config: RetractConfig, finish: Finish) -> None:
    """Remove the reviews that a run of ingest added.

    Removes them from the table in one commit and restores the rows that the run had replaced; rows that a later run replaced
    are left alone. Later ingests skip the removed rows even if the files still contain them. Names the models that were
    trained on them. Exits with 99 if the table has no row of the run.

    Example: pipeline retract latest --dry-run
    """
    from jobs import retract as job

    finish(job.run(config))
