"""The options of `pipeline crossval`."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

from pipeline.config.train import TrainConfig, TrainingOptions
from pipeline.options.option import Option
from pipeline.order.folds import MAX_FOLDS, Fold


@dataclass(frozen=True, kw_only=True)
class CrossvalConfig(TrainingOptions):
    """Options of `pipeline crossval`: those of a training run, and the number of folds. It always resumes.

    Raises:
        UsageError: a value, or a combination of values, that is not allowed.
    """

    folds: Annotated[int, Option(help="Number of folds; each is held out once.", minimum=2, maximum=MAX_FOLDS)] = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.training(0)

    def training(self, index: int) -> TrainConfig:
        """The training run with fold `index` held out."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(TrainingOptions)}
        return TrainConfig(**values, fold=str(Fold(index, self.folds)), resume=True)
