"""What a model of numbers is worth: figures of targets and predictions, with 95% confidence intervals. NumPy alone.

N reviews.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.reports.metrics import Z95, Estimate
from pipeline.tasks.figures import NumberEvaluation, measured

Floats = NDArray[np.float64]

FIELLER = 1.06
"""Variance of the Fisher transform of a rank correlation, times N − 3."""


@dataclass(frozen=True, kw_only=True)
class NumberMeasures:
    """Figures of scored reviews, in units of the target. No number is NaN; N ≥ 1."""

    target_N: Floats
    predicted_N: Floats

    @property
    def rows(self) -> int:
        """N."""
        return len(self.target_N)

    @cached_property
    def points(self) -> NumberEvaluation:
        """The figures without their intervals."""
        return measured(self.target_N, self.predicted_N, loss=0.0, tokens=0)

    @property
    def mae(self) -> Estimate:
        """The mean absolute error, with the normal interval of a mean."""
        low, high = _mean_interval(np.abs(self.predicted_N - self.target_N))
        return Estimate(self.points.mae, low, high)

    @property
    def rmse(self) -> Estimate:
        """The root mean squared error: roots of the interval of the mean squared one."""
        low, high = _mean_interval((self.predicted_N - self.target_N) ** 2)
        return Estimate(self.points.rmse, math.sqrt(low), math.sqrt(high))

    @property
    def spearman(self) -> Estimate:
        """Spearman's rank correlation.

        Source of the interval: Fieller, Hartley & Pearson 1957, "Tests for rank correlation coefficients".
        """
        value = self.points.spearman
        if self.rows <= 3 or abs(value) >= 1:
            return Estimate(value, value if abs(value) >= 1 else -1.0, value if abs(value) >= 1 else 1.0)
        margin = Z95 * math.sqrt(FIELLER / (self.rows - 3))
        centre = math.atanh(value)
        return Estimate(value, math.tanh(centre - margin), math.tanh(centre + margin))

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON; an interval is [low, high]."""
        found: dict[str, Any] = {"rows": self.rows}
        for name in ("mae", "rmse", "spearman"):
            estimate: Estimate = getattr(self, name)
            found |= {name: estimate.value, f"{name}_interval": [estimate.low, estimate.high]}
        return found | {"constant_mae": self.points.constant_mae}


def smaller_by_chance(difference_N: Floats) -> float:
    """One-sided p value: how likely the mean of paired differences is as small as this if their true mean is 0.

    The mean of so many reviews (20 and more) is about normal.
    """
    mean, spread = float(difference_N.mean()), float(difference_N.std())
    if not spread > 0 or len(difference_N) < 2:
        return 0.0 if mean < 0 and len(difference_N) > 1 else 1.0
    z = mean / spread * math.sqrt(len(difference_N) - 1)
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _mean_interval(values_N: Floats) -> tuple[float, float]:
    mean = float(values_N.mean())
    margin = Z95 * float(values_N.std()) / math.sqrt(max(len(values_N) - 1, 1))
    return max(mean - margin, 0.0), mean + margin
