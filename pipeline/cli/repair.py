"""`pipeline repair`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.repair import RepairConfig


@config_command(RepairConfig)
def repair(config: RepairConfig, finish: Finish) -> None:
    """Repair a damaged lake.

    Restores the table's log, shards and vocabulary, LATEST and the run records. Reviews of damaged shards are read again
    from their sources and committed together. Exits with 99 if nothing is damaged.

    Example: pipeline repair
    """
    from jobs import repair as job

    finish(job.run(config))
