"""`pipeline vacuum`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.vacuum import VacuumConfig


@config_command(VacuumConfig)
def vacuum(config: VacuumConfig, finish: Finish) -> None:
    """Delete old token shards, and what dead runs left.

    Shards go that no kept version of the table needs.

    Example: pipeline vacuum --keep-hours 720 --models --keep 10
    """
    from jobs import vacuum as job

    finish(job.run(config))
