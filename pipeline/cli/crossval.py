"""`pipeline crossval`."""

from collections.abc import Mapping
from typing import Any

from pipeline.cli.derive import Inherits, config_command
from pipeline.cli.finish import Finish
from pipeline.config.crossval import CrossvalConfig


def _as_trained(train: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Folds are trained with the lake's [train] options, except what says how one training ends or starts."""
    return {
        name: value for name, value in train.items() if name in CrossvalConfig.__dataclass_fields__ and name not in given
    }


@config_command(CrossvalConfig, presets=True, inherits=Inherits("train", _as_trained))
def crossval(config: CrossvalConfig, finish: Finish) -> None:
    """Train once per fold and test on the held-out fold.

    Divides the 'train' split into folds, by group (such as a film) if there are groups, else by review. Reports mean and
    standard deviation, and writes the out-of-fold prediction of every review to crossval/. The live model stays as it is.
    Options in [train] of the lake's pipeline.toml apply, unless [crossval] or the command line overrides them. An
    interrupted run resumes without training finished folds again. Exits with 99 if all folds were already done.

    Example: pipeline crossval --arch nbsvm --folds 5
    """
    from jobs import crossval as job

    finish(job.run(config))
