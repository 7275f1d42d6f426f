"""`pipeline crossval`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.crossval import CrossvalConfig


@config_command(CrossvalConfig, presets=True)
def crossval(config: CrossvalConfig, finish: Finish) -> None:
    """Train once for each fold and test on the fold held out.

    The split 'train' is cut into folds. Folds go by group, such as a film, or by review where there is none. Leaves mean
    and spread in the receipt and every review's out-of-fold prediction in crossval/, and never touches the live model. A
    run that was cut short goes on where it was: a fold that is trained is not trained again. Ends with 99 when all folds
    were done before.

    Example: pipeline crossval --arch nbsvm --folds 5
    """
    from jobs import crossval as job

    finish(job.run(config))
