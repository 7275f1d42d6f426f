"""`pipeline repair`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.repair import RepairConfig


@config_command(RepairConfig)
def repair(config: RepairConfig, finish: Finish) -> None:
    """Make a damaged lake whole again.

    Mends the table's log, shards and vocabulary, LATEST and the run records. Reviews of damaged shards are read again
    from their sources and committed at once. Ends with 99 when nothing is damaged.

    Example: pipeline repair
    """
    from jobs import repair as job

    finish(job.run(config))
