"""`pipeline vacuum`."""

from pipeline.cli.app import finish
from pipeline.cli.derive import config_command
from pipeline.config.vacuum import VacuumConfig


@config_command(VacuumConfig)
def vacuum(config: VacuumConfig) -> None:
    """Delete token shards that no kept version of the table needs.

    Example: pipeline vacuum --keep-hours 720
    """
    from jobs import vacuum as job

    finish(job.run(config))
