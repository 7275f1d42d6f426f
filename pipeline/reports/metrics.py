"""What a classifier is worth: figures of labels and probabilities, with 95% confidence intervals. NumPy alone.

scikit-learn computes the same point values and is the reference in the tests; it has no intervals, and with SciPy it
weighs 45 MB that every machine that scores would have to install.

N reviews, C classes, Q bins.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Z95 = 1.959963984540054
"""Standard normal quantile of a two-sided interval of 95%."""
BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the bounds of its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a curve, each (points,), and the area under it."""

    x: Floats
    y: Floats
    area: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Equally wide bins of the prediction's probability that hold a review: each (bins,)."""

    confidence: Floats
    """Mean probability of the prediction."""
    accuracy: Floats
    rows: Ints


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Figures of scored reviews. `labels_N`: int, 0 … C-1; `probability_NC`: rows sum to 1, none is NaN; N ≥ 1."""

    names: tuple[str, ...]
    labels_N: Ints
    probability_NC: Floats

    @cached_property
    def rows(self) -> int:
        """N."""
        return len(self.labels_N)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable label is the true one."""
        return np.asarray(self.probability_NC.argmax(axis=1) == self.labels_N)

    @cached_property
    def confusion(self) -> Ints:
        """(C, C): `[i, j]` counts the reviews of label i that were called j."""
        size = len(self.names)
        pairs = self.labels_N * size + self.probability_NC.argmax(axis=1)
        return np.bincount(pairs, minlength=size * size).reshape(size, size).astype(np.int64)

    @cached_property
    def accuracy(self) -> Estimate:
        """The share labelled right, with Wilson's interval."""
        return wilson(int(self.right.sum()), self.rows)

    @cached_property
    def majority(self) -> tuple[str, float]:
        """The most frequent label, and the accuracy of calling every review that."""
        counts = self.confusion.sum(axis=1)
        return self.names[int(counts.argmax())], float(counts.max() / self.rows)

    @cached_property
    def macro_f1(self) -> Estimate:
        """The mean of the classes' F1. The interval is the bootstrap's percentile interval: a resample of the reviews is
        a multinomial draw of the confusion matrix."""
        draws = np.random.default_rng(0).multinomial(self.rows, self.confusion.ravel() / self.rows, RESAMPLES)
        resampled = _f1(draws.reshape(RESAMPLES, *self.confusion.shape)).mean(axis=-1)
        low, high = np.quantile(resampled, (0.025, 0.975))
        return Estimate(float(_f1(self.confusion).mean()), float(low), float(high))

    @cached_property
    def auc(self) -> Estimate | None:
        """Area under the ROC curve; with more than two classes the mean over one class against the rest. None unless each
        class has reviews.

        Source of the interval: DeLong, DeLong & Clarke-Pearson 1988, "Comparing the areas under two or more correlated
        receiver operating characteristic curves"; the mean's variance is that of the mean of the influence functions.
        """
        if not (self.confusion.sum(axis=1) > 0).all():
            return None
        columns = [1] if len(self.names) == 2 else range(len(self.names))
        found = [_area_and_influence(self.labels_N == column, self.probability_NC[:, column]) for column in columns]
        area = float(np.mean([area for area, _ in found]))
        influence_N = np.mean([influence_N for _, influence_N in found], axis=0)
        margin = Z95 * math.sqrt(float(np.mean(influence_N**2)) / self.rows)
        return Estimate(area, max(area - margin, 0.0), min(area + margin, 1.0))

    @cached_property
    def log_loss(self) -> float:
        """Mean cross-entropy in nats."""
        chosen_N = self.probability_NC[np.arange(self.rows), self.labels_N]
        return float(-np.log(np.maximum(chosen_N, np.finfo(np.float32).tiny)).mean())

    @cached_property
    def brier(self) -> float:
        """Mean squared distance between probabilities and truth, summed over the classes: from 0 to 2."""
        truth_NC = np.eye(len(self.names))[self.labels_N]
        return float(((self.probability_NC - truth_NC) ** 2).sum(axis=1).mean())

    @cached_property
    def reliability(self) -> Reliability:
        """How often the prediction is right, by its probability."""
        confidence_N = self.probability_NC.max(axis=1)
        bin_N = np.clip(np.ceil(confidence_N * BINS).astype(np.int64) - 1, 0, BINS - 1)
        rows_Q = np.bincount(bin_N, minlength=BINS)
        filled = rows_Q > 0
        sums = (np.bincount(bin_N, weights=values, minlength=BINS) for values in (confidence_N, self.right))
        confidence_Q, accuracy_Q = (total[filled] / rows_Q[filled] for total in sums)
        return Reliability(confidence_Q, accuracy_Q, rows_Q[filled])

    @cached_property
    def ece(self) -> float:
        """Expected calibration error: the mean distance between probability and accuracy over the bins of `reliability`.

        Source: Guo et al. 2017, "On calibration of modern neural networks", equation 3.
        """
        bins = self.reliability
        return float((np.abs(bins.accuracy - bins.confidence) * bins.rows).sum() / self.rows)

    def per_class(self) -> dict[str, dict[str, Any]]:
        """Precision, recall, F1, AUC against the rest, average precision and rows of each class; 0 where there is nothing
        to divide by, null where a class or its rest has no reviews."""
        found = {}
        for index, name in enumerate(self.names):
            right = int(self.confusion[index, index])
            called, rows = int(self.confusion[:, index].sum()), int(self.confusion[index].sum())
            both = 0 < rows < self.rows
            found[name] = {
                "precision": right / called if called else 0.0,
                "recall": right / rows if rows else 0.0,
                "f1": 2 * right / (called + rows) if called + rows else 0.0,
                "auc": self.roc(index).area if both else None,
                "average_precision": self.precision_recall(index).area if both else None,
                "rows": rows,
            }
        return found

    def roc(self, index: int) -> Curve:
        """False positive rate (x) and true positive rate (y) of one class against the rest, which both have reviews."""
        right, wrong = _counts_above(self.labels_N == index, self.probability_NC[:, index])
        x, y = wrong / wrong[-1], right / right[-1]
        return Curve(x, y, float(np.trapezoid(y, x)))

    def precision_recall(self, index: int) -> Curve:
        """Recall (x) and precision (y) of one class; the area is the average precision. The class has reviews."""
        right, wrong = _counts_above(self.labels_N == index, self.probability_NC[:, index])
        recall, precision = right[1:] / right[-1], right[1:] / (right[1:] + wrong[1:])
        return Curve(recall, precision, float((np.diff(recall, prepend=0.0) * precision).sum()))

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON; an interval is [low, high]."""
        estimates = {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "auc": self.auc}
        found: dict[str, Any] = {"rows": self.rows}
        for name, estimate in estimates.items():
            found[name] = estimate.value if estimate else None
            found[f"{name}_interval"] = [estimate.low, estimate.high] if estimate else None
        label, share = self.majority
        return found | {
            "loss": self.log_loss,
            "brier": self.brier,
            "ece": self.ece,
            "majority_class": {"label": label, "accuracy": share},
            "labels": list(self.names),
            "confusion": self.confusion.tolist(),
            "classes": self.per_class(),
        }


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two models on the same reviews. `only_first`: reviews that the first alone labels right."""

    rows: int
    only_first: int
    only_second: int
    p_value: float


def wilson(right: int, rows: int) -> Estimate:
    """A share of `rows` ≥ 1 with Wilson's interval, which stays within 0 and 1.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    share, weight = right / rows, Z95**2 / rows
    centre = (share + weight / 2) / (1 + weight)
    margin = Z95 * math.sqrt(share * (1 - share) / rows + weight / (4 * rows)) / (1 + weight)
    # Rounding may put a bound past a share of 0 or 1.
    return Estimate(share, min(max(centre - margin, 0.0), share), max(min(centre + margin, 1.0), share))


def mcnemar(first_right_N: NDArray[np.bool_], second_right_N: NDArray[np.bool_]) -> PairedTest:
    """McNemar's exact test: are both models equally often right? Only reviews that exactly one of them labels right count;
    the p value is that of a fair coin.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions".
    """
    first = int((first_right_N & ~second_right_N).sum())
    second = int((second_right_N & ~first_right_N).sum())
    return PairedTest(len(first_right_N), first, second, _fair_coin(first, second))


def worse_by_chance(only_first: int, only_second: int) -> float:
    """One-sided p value of McNemar's exact test: how likely a second model as good as the first is the only right one so
    rarely, at most `only_second` times of all the times that exactly one of them is right.

    Source: McNemar 1947, with the binomial distribution itself in place of its normal approximation.
    """
    return binomial_tail(only_second, only_first + only_second, 0.5)


def binomial_tail(most: int, trials: int, share: float) -> float:
    """Probability of at most `most` successes in `trials`, each with the probability `share` (0 < share < 1)."""
    if most >= trials:
        return 1.0
    return min(1.0, math.fsum(math.exp(_log_binomial(count, trials, share)) for count in range(most + 1)))


def _log_binomial(count: int, trials: int, share: float) -> float:
    ways = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
    return ways + count * math.log(share) + (trials - count) * math.log1p(-share)


def accuracy_by_length(lengths_N: Ints, right_N: NDArray[np.bool_], bins: int = 8) -> list[tuple[int, int, Estimate, int]]:
    """Shortest and longest length, accuracy and number of reviews in bins of about as many reviews each."""
    edges = np.unique(np.quantile(lengths_N, np.linspace(0, 1, bins + 1), method="closest_observation"))
    place_N = np.clip(np.searchsorted(edges, lengths_N, side="left") - 1, 0, max(len(edges) - 2, 0))
    found = []
    for place in np.unique(place_N):
        inside = place_N == place
        lengths = lengths_N[inside]
        rows = int(inside.sum())
        found.append((int(lengths.min()), int(lengths.max()), wilson(int(right_N[inside].sum()), rows), rows))
    return found


def _f1(confusion: Ints) -> Floats:
    """F1 of each class, (…, C), of confusion matrices (…, C, C)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.asarray(2 * right / np.maximum(total, 1), dtype=np.float64)


def _counts_above(positive_N: NDArray[np.bool_], score_N: Floats) -> tuple[Floats, Floats]:
    """Positives and negatives with at least each distinct score, from the highest score down, after a 0."""
    order_N = np.argsort(-score_N, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score_N[order_N])), len(score_N) - 1)
    right = np.cumsum(positive_N[order_N])[ends]
    return np.append(0.0, right), np.append(0.0, ends + 1 - right)


def _area_and_influence(positive_N: NDArray[np.bool_], score_N: Floats) -> tuple[float, Floats]:
    """The area under the ROC curve, and each review's influence on it, (N,)."""
    above, below = np.sort(score_N[positive_N]), np.sort(score_N[~positive_N])

    def share_below(values: Floats, score: Floats) -> Floats:
        sides = [np.searchsorted(values, score, side=side) for side in ("left", "right")]
        return np.asarray((sides[0] + sides[1]) / (2 * len(values)))

    won_N = np.where(positive_N, share_below(below, score_N), 1 - share_below(above, score_N))
    area = float(won_N[positive_N].mean())
    weight_N = np.where(positive_N, len(score_N) / len(above), len(score_N) / len(below))
    return area, (won_N - area) * weight_N


def _fair_coin(heads: int, tails: int) -> float:
    """Two-sided p value of a fair coin with these numbers of heads and tails."""
    tosses = heads + tails
    if not tosses:
        return 1.0
    fewer = np.arange(min(heads, tails) + 1)
    logs = [math.lgamma(tosses + 1) - math.lgamma(k + 1) - math.lgamma(tosses - k + 1) for k in fewer.tolist()]
    return min(1.0, 2 * float(np.exp(np.array(logs) - tosses * math.log(2)).sum()))
