"""`pipeline crossval`."""

from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.crossval import CrossvalConfig


@config_command(CrossvalConfig, presets=True)
def crossval(config: CrossvalConfig, finish: Finish) -> None:
    """Train once per fold and test on the held-out fold.

    Divides the 'train' split into folds, by group (such as a film) if there are groups, else by review. Reports mean and
    standard deviation, and writes the out-of-fold prediction of every review to crossval/. The live model stays as it is.
    An interrupted run resumes without training finished folds again. Exits with 99 if all folds were already done.

    Example: pipeline crossval --arch nbsvm --folds 5
    """
    from jobs import crossval as job

    finish(job.run(config))
