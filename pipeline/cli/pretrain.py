"""`pipeline pretrain`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.pretrain import PretrainConfig


@config_command(PretrainConfig)
def pretrain(config: PretrainConfig, finish: Finish) -> None:
    """Learn word vectors or a language model from reviews.

    Reads the text of the splits 'train' and 'unsup', except what 'pipeline train' tests on, and writes a pretrained model to
    pretrained/. 'pipeline train --init LATEST' starts from it. Exits with 99 if one with the same data and options exists.

    Example: pipeline pretrain --objective lm --arch bilstm
    """
    from jobs import pretrain as job

    job.start(config, finish, finish.command("pretrain"))
