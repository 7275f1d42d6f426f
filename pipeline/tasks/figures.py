"""How good a model is on a part: what every task has, and the figures of numbers. Importable without torch.

N rows of a part.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How good a model is on a part. `loss` is the mean over rows, or over whatever the task counts."""

    loss: float
    rows: int
    tokens: int

    def figures(self) -> dict[str, float]:
        """The figures of an epoch beside the loss, by their column in metrics.parquet."""
        raise NotImplementedError

    def score(self, metric: str) -> float:
        """The value of one of the task's selections; higher is better."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class NumberEvaluation(Evaluation):
    """`mae`, `rmse`: mean absolute and root mean squared error, in units of the target; `spearman`: rank correlation;
    `constant_mae`: the mean absolute error of always answering the median of these rows."""

    mae: float
    rmse: float
    spearman: float
    constant_mae: float
    spread: float
    """The standard deviation of the predictions."""

    def figures(self) -> dict[str, float]:
        """MAE and rank correlation."""
        return {"mae": self.mae, "spearman": self.spearman}

    def score(self, metric: str) -> float:
        """The value of one of the task's selections; higher is better."""
        return {"mae": -self.mae, "spearman": self.spearman, "loss": -self.loss}[metric]


def measured(targets_N: Doubles, predicted_N: Doubles, *, loss: float, tokens: int) -> NumberEvaluation:
    """The figures of predictions, in units of the target."""
    error_N = np.abs(predicted_N - targets_N)
    rows = max(len(targets_N), 1)
    return NumberEvaluation(
        loss=loss,
        rows=len(targets_N),
        tokens=tokens,
        mae=float(error_N.sum()) / rows,
        rmse=float(np.sqrt((error_N**2).sum() / rows)),
        spearman=spearman(targets_N, predicted_N),
        constant_mae=float(np.abs(targets_N - np.median(targets_N)).sum()) / rows if len(targets_N) else 0.0,
        spread=float(predicted_N.std()) if len(predicted_N) else 0.0,
    )


def spearman(one_N: Doubles, other_N: Doubles) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, ties sharing their mean rank. 0 where one does not vary.

    Source: Spearman 1904, "The proof and measurement of association between two things".
    """
    if len(one_N) < 2:
        return 0.0
    ranks = [_ranks(values) - (len(values) + 1) / 2 for values in (one_N, other_N)]
    norm = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum()) / norm if norm else 0.0


def _ranks(values_N: Doubles) -> Doubles:
    _, place_N, count = np.unique(values_N, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place_N])
