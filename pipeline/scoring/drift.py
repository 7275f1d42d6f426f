"""Whether reviews look like those a model was tested on. Pure functions over NumPy arrays.

Of each review four features are compared: its length, its share of unknown tokens, the predicted class and the
probability of that class. Each is divided into B bins. With the counts r_b of m reference reviews and c_b of n scored ones:

    PSI = Σ_b (c'_b − r'_b) ln(c'_b / r'_b) − δ (B − 1) (1/n + 1/m),   c'_b = (c_b + ½) / (n + B/2), r'_b alike
    X²  = Σ_b (√(m/n) c_b − √(n/m) r_b)² / (c_b + r_b),   p = Q((B' − 1) / 2, X² / 2δ)

PSI is the population stability index (Siddiqi 2006, "Credit risk scorecards"), a symmetrised Kullback-Leibler divergence.
Its last term is its expectation where nothing has moved (Yurdakul 2018, "Statistical properties of population stability
index"); without it, small inputs would always seem to drift. The halves keep empty bins finite (Jeffreys' prior). A negative
PSI is given as 0.
X² is the two-sample chi-squared test ("Numerical recipes", 3rd edition, equation 14.3.3) over the B' bins that are not empty
on both sides; Q is the regularised upper incomplete gamma function.

δ is the design effect: reviews of one film resemble each other, so 500 reviews of 60 films vary as much as fewer reviews of
films of their own would. It is the mean factor by which drawing whole groups raises the variance of the bins' shares:

    δ = max(1, N / (B − 1) Σ_b v_b / p_b),   v_b = G / ((G − 1) N²) Σ_g (c_gb − n_g p_b)²

Source: Rao and Scott 1981, "The analysis of categorical data from complex sample surveys", the first-order correction.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.reference import CONFIDENCE, FEATURES, LENGTH, PREDICTION, UNKNOWN
from schemas.vocabulary import UNK_ID

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Where the reference is divided. The outer bins are narrow: a tenth of foreign reviews fills one of them tenfold, but
raises a bin of a tenth to two tenths at most."""
FEWEST_IN_BIN = 2
"""Reference reviews outside of the outermost edges; small references have fewer bins."""
FEWEST_ROWS, FEWEST_REFERENCE_ROWS = 100, 200
"""With fewer reviews to compare, or to compare with, false alarms are more frequent than 2 %, so nothing is compared."""
LEAST_SHIFT = 0.02
"""Least change of the mean rank (0.5 where nothing has moved) that has a direction."""


@dataclass(frozen=True)
class Histogram:
    """Reviews per bin. `edges` are the upper edges, inclusive, of all bins but the last; empty for classes."""

    counts: Ints
    edges: Doubles
    mean: float
    design_effect: float = 1.0

    @property
    def shares(self) -> Doubles:
        """The share of the reviews in each bin."""
        return np.asarray(self.counts / max(self.counts.sum(), 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in reference.json."""
        plain = {"counts": self.counts.tolist(), "mean": self.mean, "design_effect": self.design_effect}
        return plain | ({"edges": self.edges.tolist()} if len(self.edges) else {})


@dataclass(frozen=True)
class Reference:
    """Histograms of `rows` reviews from `groups` groups, by feature."""

    rows: int
    groups: int
    features: Mapping[str, Histogram]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Reference":
        """From the content of reference.json.

        Raises:
            ValueError: the counts do not fit the edges, or edges do not ascend.
        """
        features = {}
        for name in FEATURES:
            found = values["features"][name]
            counts, edges = np.array(found["counts"], np.int64), np.array(found.get("edges", []), np.float64)
            if (name != PREDICTION and len(counts) != len(edges) + 1) or (counts < 0).any() or (np.diff(edges) <= 0).any():
                raise ValueError(f"features.{name}: the counts and the edges do not fit")
            features[name] = Histogram(counts, edges, float(found["mean"]), float(found["design_effect"]))
        return cls(int(values["rows"]), int(values["groups"]), features)

    def to_dict(self) -> dict[str, Any]:
        """The fields of reference.json."""
        features = {name: histogram.to_dict() for name, histogram in self.features.items()}
        return {"rows": self.rows, "groups": self.groups, "features": features}


@dataclass(frozen=True)
class Reviews:
    """What is known of N reviews; those without text are not among them.

    Args:
        length_N: tokens.
        unknown_N: unknown tokens.
        probability_NC: NaN where there is no prediction.
    """

    length_N: Ints
    unknown_N: Ints
    probability_NC: npt.NDArray[np.float32]

    @classmethod
    def of(cls, ids: pa.ListArray, probability_NC: npt.NDArray[np.float32]) -> "Reviews":
        """Of tokenized reviews. A list that is null because all of its tokens are unknown still counts."""
        starts = ids.offsets.to_numpy()
        length_N = np.diff(starts).astype(np.int64)
        filled = length_N > 0
        unknown_N = np.zeros(len(length_N), np.int64)
        if filled.any():
            is_unknown = (ids.values.to_numpy(zero_copy_only=False)[: starts[-1]] == UNK_ID).astype(np.int32)
            unknown_N[filled] = np.add.reduceat(is_unknown, starts[:-1][filled])
        return cls(length_N[filled], unknown_N[filled], probability_NC[filled])

    @classmethod
    def counted(
        cls, length_N: npt.NDArray[np.int32], unknown_N: npt.NDArray[np.int32], probability_NC: npt.NDArray[np.float32]
    ) -> "Reviews":
        """Of reviews whose tokens were counted; those without any are left out."""
        filled = length_N > 0
        return cls(length_N[filled].astype(np.int64), unknown_N[filled].astype(np.int64), probability_NC[filled])

    def values(self, name: str) -> Doubles:
        """A feature's value for each review that has it; of `prediction`, the number of the class."""
        if name == LENGTH:
            return self.length_N.astype(np.float64)
        if name == UNKNOWN:
            return self.unknown_N / self.length_N
        predicted_NC = self.probability_NC[self.is_predicted]
        values_N = predicted_NC.argmax(axis=1) if name == PREDICTION else predicted_NC.max(axis=1)
        return np.asarray(values_N, np.float64)

    @property
    def is_predicted(self) -> npt.NDArray[np.bool_]:
        """Whether each review has a prediction."""
        return np.asarray(np.isfinite(self.probability_NC).all(axis=1))


def make_reference(reviews: Reviews, unit_N: npt.NDArray[Any]) -> Reference:
    """The reference that these reviews make.

    Args:
        unit_N: what each review belongs to, its group or itself.
    """
    features = {}
    for name in FEATURES:
        values_N = reviews.values(name)
        units_N = unit_N[reviews.is_predicted] if name in (PREDICTION, CONFIDENCE) else unit_N
        edges = np.zeros(0) if name == PREDICTION else bin_edges(values_N)
        num_bins = reviews.probability_NC.shape[1] if name == PREDICTION else len(edges) + 1
        bins_N = _bins(values_N, edges, name)
        counts = np.bincount(bins_N, minlength=num_bins)
        features[name] = Histogram(counts, edges, _mean(name, values_N, reviews), design_effect(bins_N, units_N, num_bins))
    return Reference(len(reviews.length_N), len(np.unique(unit_N)), features)


def bin_edges(values_N: Doubles) -> Doubles:
    """Upper edges at the `QUANTILES` that leave enough reviews outside; where many values are equal, fewer.

    The last edge is below the largest value, unless all values are equal: then it is that value.
    """
    if not len(values_N):
        return np.zeros(0)
    levels = [level for level in QUANTILES if min(level, 1 - level) * len(values_N) >= FEWEST_IN_BIN]
    edges = np.unique(np.quantile(values_N, levels or [0.5], method="inverted_cdf"))
    below = edges[edges < values_N.max()]
    return below if len(below) else edges[-1:]


def design_effect(bins_N: Ints, unit_N: npt.NDArray[Any], num_bins: int) -> float:
    """δ of the module's docstring, at least 1."""
    rows = len(bins_N)
    unit_of_row, sizes = np.unique(unit_N, return_inverse=True, return_counts=True)[1:]
    units = len(sizes)
    if units < 2 or units == rows:
        return 1.0
    counts_GB = np.bincount(unit_of_row * num_bins + bins_N, minlength=units * num_bins).reshape(units, num_bins)
    share_B = counts_GB.sum(axis=0) / rows
    used = share_B > 0
    if used.sum() < 2:
        return 1.0
    residual_GB = counts_GB[:, used] - np.outer(sizes, share_B[used])
    variance_B = units / (units - 1) / rows**2 * (residual_GB**2).sum(axis=0)
    return max(1.0, float(rows / (used.sum() - 1) * (variance_B / share_B[used]).sum()))


def stability_index(counts_B: Ints, reference_B: Ints, effect: float = 1.0) -> float:
    """PSI of the module's docstring."""
    bins, n, m = len(counts_B), int(counts_B.sum()), int(reference_B.sum())
    now_B = (counts_B + 0.5) / (n + bins / 2)
    before_B = (reference_B + 0.5) / (m + bins / 2)
    raw = float(((now_B - before_B) * np.log(now_B / before_B)).sum())
    return max(0.0, raw - effect * (bins - 1) * (1 / max(n, 1) + 1 / max(m, 1)))


def two_sample_p_value(counts_B: Ints, reference_B: Ints, effect: float = 1.0) -> float:
    """p of the module's docstring; 1 where there is nothing to compare."""
    n, m = int(counts_B.sum()), int(reference_B.sum())
    both_B = counts_B + reference_B
    used = both_B > 0
    if not n or not m or used.sum() < 2:
        return 1.0
    gap_B = np.sqrt(m / n) * counts_B[used] - np.sqrt(n / m) * reference_B[used]
    statistic = float((gap_B**2 / both_B[used]).sum())
    return upper_gamma(int(used.sum()) - 1, statistic / (2 * effect))


def upper_gamma(freedom: int, x: float) -> float:
    """Q(`freedom` / 2, x), the regularised upper incomplete gamma function, for a whole number above 0 and x ≥ 0.

    From Q(½, x) = erfc √x or Q(1, x) = e^−x by Q(a + 1, x) = Q(a, x) + x^a e^−x / Γ(a + 1), of which no term is negative.
    scipy and torch have it too, but take longer to import than a night's reviews take to score.

    Source: "NIST digital library of mathematical functions", 8.4.6 and 8.8.6.
    """
    if x <= 0:
        return 1.0
    total = math.erfc(math.sqrt(x)) if freedom % 2 else math.exp(-x)
    half = 0.5 if freedom % 2 else 1.0
    while half < freedom / 2:
        total += math.exp(half * math.log(x) - x - math.lgamma(half + 1))
        half += 1
    return min(1.0, total)


@dataclass
class Observed:
    """Counts scored reviews in the bins of a reference, one window after another."""

    reference: Reference
    rows: int = 0
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*FEATURES, "tokens"), 0.0))
    counts: dict[str, Ints] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = {name: np.zeros(len(one.counts), np.int64) for name, one in self.reference.features.items()}

    def add(self, reviews: Reviews) -> None:
        """Counts these reviews."""
        self.rows += len(reviews.length_N)
        self.sums["tokens"] += float(reviews.length_N.sum())
        for name, one in self.reference.features.items():
            values_N = reviews.values(name)
            bins_N = _bins(values_N, one.edges, name)
            self.counts[name] += np.bincount(bins_N, minlength=len(one.counts))
            self.sums[name] += float(reviews.unknown_N.sum() if name == UNKNOWN else values_N.sum())

    def absorb(self, other: "Observed") -> None:
        """Adds what was counted of other reviews, in the bins of the same reference."""
        self.rows += other.rows
        for name, total in other.sums.items():
            self.sums[name] += total
        for name, counts in other.counts.items():
            self.counts[name] += counts

    def histograms(self) -> dict[str, Histogram]:
        """What was counted, by feature."""
        found = {}
        for name, counts in self.counts.items():
            of = self.sums["tokens"] if name == UNKNOWN else int(counts.sum())
            mean = 0.0 if name == PREDICTION else self.sums[name] / max(of, 1)
            found[name] = Histogram(counts, self.reference.features[name].edges, mean)
        return found


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How scored reviews differ from the reference; `psi` and `p_value` by feature, `over` the features past both limits.

    `measured` is False where it was not possible; `reason` says why.
    """

    measured: bool
    reason: str | None = None
    rows: int = 0
    unknown_share: dict[str, float | None] = field(default_factory=dict)
    psi: dict[str, float] = field(default_factory=dict)
    p_value: dict[str, float] = field(default_factory=dict)
    over: tuple[str, ...] = ()

    @property
    def drifted(self) -> bool:
        """Whether a feature has moved past both limits."""
        return bool(self.over)

    def to_dict(self) -> dict[str, Any]:
        """The values of a run record's `metrics.drift`."""
        return asdict(self) | {"drifted": self.drifted, "over": list(self.over)}


def compare(observed: Observed, *, psi_limit: float, p_limit: float) -> Drift:
    """Compares what was counted with its reference. A feature is over its limits where PSI > psi_limit and p < p_limit."""
    reference, now = observed.reference, observed.histograms()
    share = {"now": now[UNKNOWN].mean if observed.rows else None, "reference": reference.features[UNKNOWN].mean}
    for rows, least, whose in (
        (observed.rows, FEWEST_ROWS, "to compare"),
        (reference.rows, FEWEST_REFERENCE_ROWS, "in the model's test data"),
    ):
        if rows < least:
            reason = f"too few reviews {whose}: {rows:,}; at least {least:,} are needed"
            return Drift(measured=False, reason=reason, rows=observed.rows, unknown_share=share)
    psi, p_value = {}, {}
    for name, before in reference.features.items():
        counts = now[name].counts, before.counts, before.design_effect
        psi[name], p_value[name] = stability_index(*counts), two_sample_p_value(*counts)
    over = tuple(name for name in psi if psi[name] > psi_limit and p_value[name] < p_limit)
    return Drift(measured=True, rows=observed.rows, unknown_share=share, psi=psi, p_value=p_value, over=over)


def moved(observed: Observed, over: Sequence[str], labels: Sequence[str]) -> list[str]:
    """What has moved, in words: a phrase for each feature in `over`."""
    now, before = observed.histograms(), observed.reference.features
    return [_moved(name, now[name], before[name], labels) for name in over]


def _moved(name: str, now: Histogram, before: Histogram, labels: Sequence[str]) -> str:
    if name == PREDICTION:
        change = now.shares - before.shares
        label = int(np.abs(change).argmax())
        return f"{now.shares[label]:.0%} are predicted {labels[label]} instead of {before.shares[label]:.0%}"
    if name == UNKNOWN:
        return f"{now.mean:.1%} of the tokens are unknown instead of {before.mean:.1%}"
    if name == LENGTH:
        how = _direction(
            now, before, "reviews are longer", "reviews are shorter", "more reviews are very short or very long"
        )
        return f"{how} (mean of {now.mean:,.0f} tokens, not {before.mean:,.0f})"
    how = _direction(now, before, "the model is surer", "the model is less sure", "more predictions are very sure or unsure")
    return f"{how} (mean probability of {now.mean:.2f}, not {before.mean:.2f})"


def _direction(now: Histogram, before: Histogram, above: str, below: str, neither: str) -> str:
    """The phrase that fits, by the mean rank of the reviews among the reference's."""
    midrank_B = np.cumsum(before.shares) - before.shares / 2
    shift = float(((now.shares - before.shares) * midrank_B).sum())
    return neither if abs(shift) < LEAST_SHIFT else above if shift > 0 else below


def _bins(values_N: Doubles, edges: Doubles, name: str) -> Ints:
    if name == PREDICTION:
        return values_N.astype(np.int64)
    return np.searchsorted(edges, values_N, side="left").astype(np.int64)


def _mean(name: str, values_N: Doubles, reviews: Reviews) -> float:
    if name == UNKNOWN:
        return float(reviews.unknown_N.sum() / max(reviews.length_N.sum(), 1))
    return 0.0 if name == PREDICTION or not len(values_N) else float(values_N.mean())
