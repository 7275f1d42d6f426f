"""A model's main figure, in words: its accuracy, or the error of a model of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.status.records import figure
from pipeline.status.words import share


@dataclass(frozen=True)
class Score:
    """A figure on some reviews. `metric`: accuracy, or mae, the mean absolute error."""

    metric: str
    value: float

    @classmethod
    def of(cls, found: Mapping[str, Any], prefix: str) -> "Score | None":
        """The figure among others whose names start with `prefix`, such as test_; None if it is not there."""
        for metric in ("accuracy", "mae"):
            value = figure(found.get(f"{prefix}{metric}"))
            if value is not None:
                return cls(metric, value)
        return None

    def __str__(self) -> str:
        """A percentage, or an error."""
        return share(self.value) if self.metric == "accuracy" else f"MAE {self.value:.4g}"
