"""Regression: each review has a number; a model's one output is the standardised number.

    z = (y − mean) / std,   mean and std of the training part

Predictions stay within the range of the training part's targets: a linear model of a long text leaves it easily.
B rows of a batch, N rows of a part, K buckets of n-grams, J parts of a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import DataError
from pipeline.tasks.base import Doubt, Floats, Ints, Loss, Ranks, Targets, Task
from pipeline.tasks.figures import Doubles, Evaluation, NumberEvaluation, measured
from pipeline.tasks.kinds import REGRESSION
from pipeline.text.ngrams import Buckets

if TYPE_CHECKING:
    from pipeline.datapipes.train_collate import Batch

STRATA = 4
"""Quarters of the targets, which the validation part has in equal shares."""
PRIOR = 0.01
"""Weight of the scales' start in their fit, in rows: a hundred rows outweigh it by far."""
FACTORS = tuple(1.05**power for power in sorted(range(-20, 31), key=abs))
"""Tried in this order; of equally good ones, the nearest to 1 is taken."""
LARGEST, SMALLEST_RANGE = 1e30, 1e-30
"""Limits of the numbers and of the distance between the least and the greatest: predictions are float32."""
PRIOR_REVIEWS = 2.0
"""A bucket's mean target counts as if this many more reviews had it, all with the overall mean."""
RATIO_SCALE = 1 / 3
"""With it, the same `--linear-scale` suits both tasks: means are larger than log-count ratios."""


@dataclass(frozen=True)
class Regression(Task):
    """`source`: the shards' column with the numbers. The others are those of the training part, once it is known."""

    source: str
    mean: float = 0.0
    std: float = 1.0
    low: float = float("-inf")
    high: float = float("inf")

    kind = REGRESSION
    headline = "mae"
    baseline_figures = ("loss", "mae", "rmse", "spearman")
    needs_scale = True

    @property
    def column(self) -> str:
        """The numbers."""
        return self.source

    @property
    def outputs(self) -> tuple[str, ...]:
        """One, named like the column."""
        return (self.source,)

    def read(self, column: pa.ChunkedArray, where: str) -> Targets:
        """The numbers, NaN for null."""
        numbers_N: Doubles = column.cast(pa.float64()).fill_null(np.nan).to_numpy().astype(np.float64)
        if np.isinf(numbers_N).any():
            raise DataError(f"{where} has infinite numbers in the column {self.source!r}. Ingest these reviews again.")
        return numbers_N

    def strata(self, targets_N: Targets) -> Ints:
        """The quarter of the targets that each row is in."""
        known_N = np.isfinite(targets_N)
        if not known_N.any():
            return np.full(len(targets_N), -1, np.int64)
        edges = np.unique(np.quantile(targets_N[known_N], np.arange(1, STRATA) / STRATA))
        return np.where(known_N, np.searchsorted(edges, targets_N), -1).astype(np.int64)

    def summary(self, targets_N: Targets) -> list[float]:
        """Mean, standard deviation, least and greatest number.

        Raises:
            DataError: all numbers are the same, or too large for a standard deviation.
        """
        low, high = float(targets_N.min()), float(targets_N.max())
        if low == high:
            raise DataError(
                f"every review of the training part has the number {low:g} in the column {self.source!r}, so there is "
                "nothing to learn. Also ingest reviews with other numbers (--target-column)."
            )
        if max(-low, high) > LARGEST or high - low < SMALLEST_RANGE:
            raise DataError(
                f"the numbers in the column {self.source!r} are between {low:g} and {high:g}. Models are trained on numbers "
                f"of up to {LARGEST:g} that are at least {SMALLEST_RANGE:g} apart. Ingest them in another unit "
                "(--target-column)."
            )
        return [float(targets_N.mean()), float(targets_N.std()), low, high]

    def trained_on(self, summary: Sequence[float]) -> "Regression":
        """The task, given what `summary` said of the training part."""
        mean, std, low, high = summary
        return replace(self, mean=mean, std=std, low=low, high=high)

    def nothing_to_learn(self) -> str:
        """No number anywhere."""
        return (
            f"no review of the split 'train' has a number in the column {self.source!r}, so there is nothing to learn "
            "from. Name the column with the numbers at ingest (--target-column)."
        )

    def identity(self) -> dict[str, Any]:
        """The column."""
        return {"target": self.source}

    def targets(self, batch: "Batch") -> Tensor:
        """The standardised numbers, float32 (B,)."""
        return ((batch.targets.double() - self.mean) / self.std).float()

    def loss_on(self, device: torch.device) -> Loss:
        """The squared error of the standardised numbers."""

        def loss(outputs_BC: Tensor, targets: Tensor) -> Tensor:
            return functional.mse_loss(outputs_BC[:, 0], targets, reduction="sum")

        return loss

    def tally(self, outputs_BC: Tensor, targets: Tensor) -> Tensor:
        """The absolute error, in standard deviations."""
        return (outputs_BC[:, 0] - targets).abs().sum()

    def running(self, loss: float, tally: float) -> dict[str, float]:
        """The MAE, of predictions that may leave the range."""
        return {"mae": tally * self.std}

    def meter(self, device: torch.device) -> "NumberMeter":
        """Keeps outputs and targets."""
        return NumberMeter(self, device)

    def evaluate(self, outputs_NC: Doubles, targets_N: Targets, tokens: int) -> NumberEvaluation:
        """The figures for these outputs. `targets_N` are the numbers themselves."""
        targets_N = targets_N.astype(np.float64)
        z_N = (targets_N - self.mean) / self.std
        rows = max(len(targets_N), 1)
        return measured(
            targets_N, self.numbers(outputs_NC), loss=float(((outputs_NC[:, 0] - z_N) ** 2).sum()) / rows, tokens=tokens
        )

    def measures(self, found: Evaluation, outputs_NC: Doubles, targets_N: Targets) -> dict[str, float]:
        """All of `NumberEvaluation`."""
        assert isinstance(found, NumberEvaluation)
        names = ("loss", "mae", "rmse", "spearman", "constant_mae")
        return {name: getattr(found, name) for name in names}

    def in_words(self, figures: Mapping[str, float]) -> str:
        """MAE and, where it is known, rank correlation."""
        ranks = f", Spearman {figures['spearman']:.4f}" if "spearman" in figures else ""
        return f"MAE {figures['mae']:.4f}{ranks}"

    def doubts(self, found: Evaluation) -> Doubt | None:
        """The model gives the same number for every review."""
        assert isinstance(found, NumberEvaluation)
        if found.spread > 1e-6 * self.std or found.rows < 2:
            return None
        text = "the model predicts the same number for every review. Train longer, or use another --lr."
        return Doubt(text, text, {"only_number": True})

    def fit_scales(
        self, outputs_JNC: Sequence[Doubles], targets_N: Targets, start_J: Sequence[float], *, weighted: bool = False
    ) -> list[float]:
        """The scales, 0 or more, with the least squared error; a part whose scale would be negative is dropped. Then one
        factor for all of them, with the least squared error of the answers: these end at the range, so outputs that may pass
        it can be larger.
        """
        x_NJ = np.stack([np.asarray(outputs_NC, np.float64)[:, 0] for outputs_NC in outputs_JNC], axis=1)
        z_N = (targets_N.astype(np.float64) - self.mean) / self.std
        start = np.asarray(start_J, np.float64)
        active = list(range(x_NJ.shape[1]))
        scales = np.zeros(len(start))
        while active:
            part_NJ = x_NJ[:, active]
            matrix = part_NJ.T @ part_NJ + PRIOR * np.eye(len(active))
            found = np.linalg.solve(matrix, part_NJ.T @ z_N + PRIOR * start[active])
            if (found >= 0).all():
                scales[active] = found
                break
            active = [place for place, scale in zip(active, found, strict=True) if scale >= 0]
        scales *= self._factor(x_NJ @ scales, z_N)
        return [float(scale) for scale in scales]

    def _factor(self, output_N: Doubles, z_N: Doubles) -> float:
        low, high = (self.low - self.mean) / self.std, (self.high - self.mean) / self.std

        def objective(factor: float) -> float:
            error_N = np.clip(factor * output_N, low, high) - z_N
            return float((error_N**2).sum() + PRIOR * np.log(factor) ** 2)

        return min(FACTORS, key=objective)

    def ngram_statistics(self, bits: int) -> "TargetSums":
        """The reviews with each bucket, and the sum of their targets."""
        return TargetSums(bits)

    def answers(self, outputs_BC: Tensor) -> Tensor:
        """The numbers, within the range of the training part (B, 1)."""
        return (outputs_BC * self.std + self.mean).clamp(self.low, self.high)

    def numbers(self, outputs_NC: Doubles) -> Doubles:
        """The same in double precision (N,)."""
        return np.asarray(np.clip(outputs_NC[:, 0] * self.std + self.mean, self.low, self.high))

    def explained(self, answers_NC: Floats) -> Ints:
        """The one output."""
        return np.zeros(len(answers_NC), np.int64)

    def merits(self, answers_NC: Floats, targets: pa.ChunkedArray, labels: Sequence[str]) -> Doubles:
        """The negative absolute error."""
        return -np.abs(answers_NC[:, 0].astype(np.float64) - self.read(targets, "the shards"))

    def described(self) -> dict[str, Any]:
        """What is needed to turn outputs into numbers."""
        values = {"column": self.source, "mean": self.mean, "std": self.std, "low": self.low, "high": self.high}
        return {"name": self.kind.name, **values}


class NumberMeter:
    """Keeps the outputs of a part: ranks need all of them. 16 bytes a row."""

    def __init__(self, task: Regression, device: torch.device) -> None:
        self.task = task
        self.rows = [torch.zeros(0, 2, dtype=torch.float64, device=device)]

    def add(self, outputs_BC: Tensor, targets: Tensor) -> None:
        """Adds a batch of outputs and standardised numbers."""
        self.rows.append(torch.stack([outputs_BC[:, 0].double(), targets.double()], dim=1))

    def evaluation(self, ranks: Ranks, tokens: int) -> NumberEvaluation:
        """The figures of all ranks together."""
        mine = torch.cat(self.rows)
        found = ranks.concatenate(mine).cpu().numpy()
        total = ranks.sum(torch.tensor([float(tokens)], dtype=torch.float64, device=mine.device))
        return self.task.evaluate(found[:, :1], found[:, 1] * self.task.std + self.task.mean, int(total[0]))


class TargetSums:
    """The number of reviews with each bucket (K,), and the sum of their standardised targets (K,)."""

    def __init__(self, bits: int) -> None:
        self.reviews_K = np.zeros(1 << bits, np.int32)
        self.sum_K = np.zeros(1 << bits, np.float32)

    def add(self, found: Buckets, targets_B: Targets) -> None:
        """Adds a batch's reviews with their standardised targets."""
        z_N = np.repeat(targets_B, np.diff(found.bounds))
        place, inverse, count = np.unique(found.values, return_inverse=True, return_counts=True)
        self.reviews_K[place] += count.astype(np.int32)
        self.sum_K[place] += np.bincount(inverse, z_N).astype(np.float32)

    def distinct(self) -> int:
        """Number of buckets that any review has."""
        return int(np.count_nonzero(self.reviews_K))

    def ratios(self, bits: int) -> Floats:
        """The mean target of a bucket's reviews, shrunk towards that of all: float32 (K, 1)."""
        reviews_K = self.reviews_K.reshape(1 << bits, -1).sum(axis=1)
        sum_K = self.sum_K.reshape(1 << bits, -1).sum(axis=1)
        return np.asarray(RATIO_SCALE * sum_K / (reviews_K + PRIOR_REVIEWS), np.float32)[:, None]
