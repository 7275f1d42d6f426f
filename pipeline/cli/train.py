"""`pipeline train`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.train import TrainConfig


@config_command(TrainConfig, presets=True)
def train(config: TrainConfig, finish: Finish) -> None:
    """Train a classifier and leave a model bundle in models/.

    Keeps the weights that did best on the validation part; tests them once if there is a split 'test'. Ends with 99
    when the same data was trained with the same options before.

    Example: pipeline train --arch bilstm --epochs 5
    """
    from jobs import train as job

    job.start(config, finish, finish.command("train"))
