"""`pipeline compact`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.compact import CompactConfig


@config_command(CompactConfig)
def compact(config: CompactConfig, finish: Finish) -> None:
    """Merge small token shards into larger ones.

    Nights with few reviews leave many small shards. Those of the same split are merged in one commit; the reviews stay as
    they are, and so do older versions of the table until vacuum. Exits with 99 if there is nothing to merge.

    Example: pipeline compact --dry-run
    """
    from jobs import compact as job

    finish(job.run(config))
