"""`pipeline vacuum`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.vacuum import VacuumConfig


@config_command(VacuumConfig)
def vacuum(config: VacuumConfig, finish: Finish) -> None:
    """Delete old token shards and leftovers of crashed runs.

    Deletes shards that no kept table version needs.

    Example: pipeline vacuum --keep-hours 720 --models --keep 10
    """
    from jobs import vacuum as job

    finish(job.run(config))
