"""`pipeline train`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.train import TrainConfig


@config_command(TrainConfig, presets=True)
def train(config: TrainConfig, finish: Finish) -> None:
    """Train a classifier and write a model bundle to models/.

    Keeps the weights with the best validation score and tests them once. The model goes live unless it is worse than the
    live one on reviews that neither was trained on. Exits with 99 if a model with the same data and options already exists.

    Example: pipeline train --arch bilstm --epochs 5
    """
    from jobs import train as job

    job.start(config, finish, finish.command("train"))
