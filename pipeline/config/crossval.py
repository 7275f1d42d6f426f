"""The options of `pipeline crossval`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from pipeline.config.pretrain import PretrainConfig
from pipeline.config.train import TrainConfig, TrainingOptions
from pipeline.options.option import Option
from pipeline.options.render import restored
from pipeline.order.folds import MAX_FOLDS, Fold

OF_THE_MACHINE = (
    *("lake", "tokens", "vocabulary", "table_version", "device", "workers", "nproc", "max_restarts"),
    *("checkpoint_every", "keep_checkpoints"),
)
"""Options of a pretraining that a cross-validation sets for both: where data is, and what runs it."""


@dataclass(frozen=True, kw_only=True)
class CrossvalConfig(TrainingOptions):
    """Options of `pipeline crossval`: those of a training run, and the number of folds. It always resumes.

    With `init`, a pretrained model like the named one is pretrained for each fold, without the fold.

    Raises:
        UsageError: a value, or a combination of values, that is not allowed.
    """

    folds: Annotated[int, Option(help="Number of folds; each is held out once.", minimum=2, maximum=MAX_FOLDS)] = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.training(0)

    def training(self, index: int, init: str | None = None) -> TrainConfig:
        """The training run with fold `index` held out. `init`: the pretrained model that has not read the fold either."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(TrainingOptions)}
        return TrainConfig(**{**values, "init": init}, fold=str(Fold(index, self.folds)), resume=True)

    def pretraining(self, index: int, recipe: Mapping[str, Any]) -> PretrainConfig:
        """The pretraining with fold `index` held out. `recipe`: the options and data of one that read all folds."""
        options = {**restored(PretrainConfig, recipe), "fold": str(Fold(index, self.folds)), "holdout": None}
        places = {name: getattr(self, name) for name in OF_THE_MACHINE}
        return PretrainConfig(**{**options, **places}, resume=True)
