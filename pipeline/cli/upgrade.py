"""`pipeline upgrade`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.upgrade import UpgradeConfig


@config_command(UpgradeConfig)
def upgrade(config: UpgradeConfig, finish: Finish) -> None:
    """Convert what earlier releases wrote.

    These are token shards, bundles and predictions. Every release reads what earlier ones wrote; converted files are
    proven by digests and quicker to open. A file is replaced whole or not at all, and a run that was stopped goes on
    where it ended. Ends with 99 when nothing is old.

    Example: pipeline upgrade --dry-run
    """
    from jobs import upgrade as job

    finish(job.run(config))
