"""`pipeline upgrade`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.upgrade import UpgradeConfig


@config_command(UpgradeConfig)
def upgrade(config: UpgradeConfig, finish: Finish) -> None:
    """Convert files of earlier releases to the current format.

    Converts token shards, bundles and predictions. Every release can read files of earlier ones; converted files have
    digests and open faster. Files are replaced atomically, and an interrupted run continues where it stopped. Exits with
    99 if there is nothing to convert.

    Example: pipeline upgrade --dry-run
    """
    from jobs import upgrade as job

    finish(job.run(config))
