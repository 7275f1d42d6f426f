"""Classification: each review has one of the vocabulary's labels; a model's outputs are the logits of the labels.

B rows of a batch, N rows of a part, C labels, K buckets of n-grams, U unlabelled rows, J parts of a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import DataError
from pipeline.models.layers.ngram_linear import num_columns
from pipeline.tasks.base import Doubt, Floats, Ints, Loss, Ranks, Targets, Task
from pipeline.tasks.calibration import cross_entropy, expected_calibration_error, fit_scales, softmax
from pipeline.tasks.columns import best_labels
from pipeline.tasks.figures import Doubles, Evaluation
from pipeline.tasks.kinds import CLASSIFICATION
from pipeline.text.ngrams import Buckets

FEWEST_SHARE = 0.15
"""Classes are balanced by default where the rarest one has less than this share of an equal one. One row in twenty, of two
classes, is then rare in every fold; at a tenth it would be in some."""
NONE, AUTO = "none", "auto"


@dataclass(frozen=True, kw_only=True)
class ClassEvaluation(Evaluation):
    """`confusion[i, j]`: rows of label i predicted as j."""

    accuracy: float
    confusion: npt.NDArray[np.int64]

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes; a class that never occurs and is never predicted counts as 0."""
        right = self.confusion.diagonal()
        predicted = self.confusion.sum(axis=0)
        rows = self.confusion.sum(axis=1)
        return float(np.mean(2 * right / np.maximum(predicted + rows, 1)))

    @property
    def majority_accuracy(self) -> float:
        """The accuracy of always predicting the most frequent label."""
        return float(self.confusion.sum(axis=1).max()) / max(self.rows, 1)

    def figures(self) -> dict[str, float]:
        """The accuracy."""
        return {"accuracy": self.accuracy}

    def score(self, metric: str) -> float:
        """The value of one of the task's selections; higher is better."""
        return {"accuracy": self.accuracy, "macro-f1": self.macro_f1, "loss": -self.loss}[metric]

    @property
    def only_class(self) -> int | None:
        """The class predicted for every row, if there is only one although the rows have several."""
        predicted = np.flatnonzero(self.confusion.sum(axis=0))
        return int(predicted[0]) if len(predicted) == 1 and np.count_nonzero(self.confusion.sum(axis=1)) > 1 else None


@dataclass(frozen=True)
class Classification(Task):
    """`labels` in the order of their IDs; `class_weights`: what each class's rows weigh, None for all the same."""

    labels: tuple[str, ...]
    class_weights: tuple[float, ...] | None = None

    kind = CLASSIFICATION
    headline = "accuracy"
    baseline_figures = ("loss", "accuracy", "macro_f1")

    @property
    def column(self) -> str:
        """The label's ID."""
        return "label"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The labels."""
        return self.labels

    def weighted(self, counts: Sequence[float], option: str) -> "Classification":
        """The task with the class weights that `--class-weights` asks for, given the training part's rows of each label."""
        total, rarest = sum(counts), min(counts)
        if option == NONE or (option == AUTO and not rarest * len(counts) < FEWEST_SHARE * total):
            return self
        return replace(self, class_weights=tuple(float(total / (len(counts) * max(count, 1))) for count in counts))

    def read(self, column: pa.ChunkedArray, where: str) -> Targets:
        """The labels' IDs, -1 for null."""
        labels_N: Ints = column.cast(pa.int32()).fill_null(-1).to_numpy().astype(np.int64)
        if len(labels_N) and (labels_N.max() >= len(self.labels) or labels_N.min() < -1):
            raise DataError(
                f"{where} has labels from {labels_N.min()} to {labels_N.max()}, but the vocabulary has {len(self.labels)} "
                "labels. Shards and vocabulary do not match; ingest again with --rebuild-vocab."
            )
        return labels_N

    def strata(self, targets_N: Targets) -> Ints:
        """The labels themselves."""
        return targets_N

    def summary(self, targets_N: Targets) -> list[float]:
        """The rows of each label.

        Raises:
            DataError: only one class.
        """
        counts = np.bincount(targets_N, minlength=len(self.labels)).tolist()
        if sum(count > 0 for count in counts) < 2:
            raise DataError(
                f"the training part has only one class (rows by label: {counts}); a classifier needs two. "
                "Also ingest reviews with another label."
            )
        return [int(count) for count in counts]

    def nothing_to_learn(self) -> str:
        """No label anywhere."""
        return (
            "the split 'train' has no labelled reviews, so there is nothing to learn from. "
            "Ingest reviews with labels (aclImdb's folders, or --label-column)."
        )

    def softened(self, targets_B: Tensor, soft_UC: Tensor | None) -> Tensor:
        """The labels (B,), or probabilities (B, C) if some rows are unlabelled: see `DecodedGroup`."""
        if soft_UC is None:
            return targets_B
        hard_BC = functional.one_hot(targets_B.clamp_min(0), self.num_outputs).to(soft_UC.dtype)
        return torch.where((targets_B >= 0)[:, None], hard_BC, soft_UC[(-1 - targets_B).clamp_min(0)])

    def mixed(self, soft_NC: Floats, targets_N: Targets, weight: float) -> Floats:
        """The share `weight` of the probabilities, and the rest on the label."""
        (labelled,) = np.nonzero(targets_N >= 0)
        mixed_NC = soft_NC.copy()
        mixed_NC[labelled] *= weight
        mixed_NC[labelled, targets_N[labelled]] += 1.0 - weight
        return mixed_NC

    def soft_targets(self, outputs_NC: Doubles) -> Doubles:
        """The probabilities (N, C)."""
        return softmax(outputs_NC)

    def loss_on(self, device: torch.device) -> Loss:
        """Cross-entropy of labels or of probabilities, each class with its weight; rows without either cost nothing."""
        weight = None if self.class_weights is None else torch.tensor(self.class_weights, device=device)

        def loss(outputs_BC: Tensor, targets: Tensor) -> Tensor:
            found = targets if targets.dim() == 2 else targets.clamp_min(-1)
            return functional.cross_entropy(outputs_BC, found, weight=weight, reduction="sum", ignore_index=-1)

        return loss

    def divergence(self, outputs_BC: Tensor, expected_BC: Tensor) -> Tensor:
        """The Kullback-Leibler divergence of the expected probabilities from those of the outputs, both logits."""
        ours, theirs = (torch.log_softmax(logits_BC, dim=1) for logits_BC in (outputs_BC, expected_BC))
        return functional.kl_div(ours, theirs, reduction="sum", log_target=True)

    def tally(self, outputs_BC: Tensor, targets: Tensor) -> Tensor:
        """Right answers; of soft targets, the most probable class is the right one."""
        classes_B = targets.argmax(dim=1) if targets.dim() == 2 else targets
        return (outputs_BC.argmax(dim=1) == classes_B).sum()

    def running(self, loss: float, tally: float) -> dict[str, float]:
        """The accuracy."""
        return {"accuracy": tally}

    def facts(self) -> dict[str, Any]:
        """The class weights, if there are any."""
        return {} if self.class_weights is None else {"class_weights": list(self.class_weights)}

    def meter(self, device: torch.device) -> "ClassMeter":
        """A confusion matrix."""
        return ClassMeter(self.num_outputs, device)

    def evaluate(self, outputs_NC: Doubles, targets_N: Targets, tokens: int) -> ClassEvaluation:
        """The figures for these logits."""
        size = outputs_NC.shape[1]
        pairs = targets_N * size + outputs_NC.argmax(axis=1)
        confusion = np.bincount(pairs, minlength=size**2).reshape(size, size).astype(np.int64)
        rows = max(len(targets_N), 1)
        return ClassEvaluation(
            loss=float(cross_entropy(outputs_NC, targets_N).sum()) / rows,
            accuracy=float(confusion.trace()) / rows,
            rows=len(targets_N),
            tokens=tokens,
            confusion=confusion,
        )

    def measures(self, found: Evaluation, outputs_NC: Doubles, targets_N: Targets) -> dict[str, float]:
        """`majority_accuracy` is that of always answering the most frequent label; `ece` the calibration error."""
        assert isinstance(found, ClassEvaluation)
        return {
            "loss": found.loss,
            "accuracy": found.accuracy,
            "macro_f1": found.macro_f1,
            "majority_accuracy": found.majority_accuracy,
            "ece": expected_calibration_error(softmax(outputs_NC), targets_N),
        }

    def in_words(self, figures: Mapping[str, float]) -> str:
        """The accuracy in percent."""
        return f"accuracy {100 * figures['accuracy']:.2f} %"

    def doubts(self, found: Evaluation) -> Doubt | None:
        """The model knows one class only."""
        assert isinstance(found, ClassEvaluation)
        if (only := found.only_class) is None:
            return None
        label = self.labels[only]
        return Doubt(
            f"the model predicts {label!r} for every review. Train longer, use --class-weights balanced or another --lr, or "
            "check the labels.",
            "the model predicts the same label for every review: train longer, or check the labels",
            {"only_class": label},
        )

    def fit_scales(
        self, outputs_JNC: Sequence[Doubles], targets_N: Targets, start_J: Sequence[float], *, weighted: bool = False
    ) -> list[float]:
        """See `calibration.py`."""
        return fit_scales(outputs_JNC, targets_N, start_J, self.class_weights if weighted else None)

    @property
    def weights_rows(self) -> bool:
        """With class weights."""
        return self.class_weights is not None

    def ngram_statistics(self, bits: int) -> "LabelCounts":
        """The reviews of each label with each bucket."""
        return LabelCounts(bits, self.num_outputs)

    def answers(self, outputs_BC: Tensor) -> Tensor:
        """The probabilities of the labels (B, C)."""
        return torch.softmax(outputs_BC, dim=1)

    def explained(self, answers_NC: Floats) -> Ints:
        """The most probable label; the first one for rows that were not scored."""
        return best_labels(answers_NC)

    def merits(self, answers_NC: Floats, targets: pa.ChunkedArray, labels: Sequence[str]) -> Doubles:
        """1 where the most probable label is right, else 0."""
        label_of = np.array([labels.index(label) for label in self.labels], np.int64)
        return np.asarray(label_of[answers_NC.argmax(axis=1)] == targets.to_numpy(), np.float64)

    def is_comparable(self, other: Task) -> str:
        """Both need the same labels, in any order."""
        if not isinstance(other, Classification):
            return "learns no labels"
        return "" if set(other.labels) == set(self.labels) else f"has other labels ({', '.join(other.labels)})"

    def labels_of_bundle(self) -> tuple[str, ...]:
        """All of them."""
        return self.labels

    def described(self) -> dict[str, Any]:
        """Nothing: the labels say it."""
        return {}


class ClassMeter:
    """Sums the cross-entropy and counts pairs of label and prediction, on the device."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.num_classes = num_classes
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.pairs = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=device)

    def add(self, outputs_BC: Tensor, targets: Tensor) -> None:
        """Adds a batch of logits and labels."""
        self.loss += functional.cross_entropy(outputs_BC, targets, reduction="sum").double()
        pairs_B = targets * self.num_classes + outputs_BC.argmax(dim=1)
        self.pairs += torch.bincount(pairs_B, minlength=len(self.pairs))

    def evaluation(self, ranks: Ranks, tokens: int) -> ClassEvaluation:
        """The figures of all ranks together."""
        counted = torch.tensor([tokens], device=self.loss.device).double()
        sums = ranks.sum(torch.cat([self.loss[None], counted, self.pairs.double()])).cpu()
        confusion = sums[2:].numpy().astype(np.int64).reshape(self.num_classes, self.num_classes)
        rows = int(confusion.sum())
        return ClassEvaluation(
            loss=float(sums[0]) / max(rows, 1),
            accuracy=float(confusion.trace()) / max(rows, 1),
            rows=rows,
            tokens=int(sums[1]),
            confusion=confusion,
        )


class LabelCounts:
    """The number of reviews of each label with each bucket: int32 (K, C). A review with probabilities counts for each label
    as much as that is probable, and the counts are float32.
    """

    def __init__(self, bits: int, num_classes: int) -> None:
        self.num_classes = num_classes
        self.counts_N: npt.NDArray[Any] = np.zeros((1 << bits) * num_classes, np.int32)

    def add(self, found: Buckets, targets_B: Targets) -> None:
        """Counts a batch's reviews: `targets_B` are labels, or probabilities (B, C)."""
        if targets_B.ndim == 2:
            self._add_shares(found, targets_B)
            return
        labels_N = np.repeat(targets_B, np.diff(found.bounds))
        place, count = np.unique(found.values * np.int64(self.num_classes) + labels_N, return_counts=True)
        self.counts_N[place] += count.astype(np.int32)

    def _add_shares(self, found: Buckets, probability_BC: Targets) -> None:
        self.counts_N = self.counts_N.astype(np.float32, copy=False)
        counts_KC = self.counts_N.reshape(-1, self.num_classes)
        share_NC = np.repeat(probability_BC, np.diff(found.bounds), axis=0)
        place, number_N = np.unique(found.values, return_inverse=True)
        for label in range(self.num_classes):
            counts_KC[place, label] += np.bincount(number_N, share_NC[:, label])

    def distinct(self) -> int:
        """Number of buckets that any review has."""
        return int(np.count_nonzero(self.counts_N.reshape(-1, self.num_classes).any(axis=1)))

    def ratios(self, bits: int) -> Floats:
        """The log-count ratios, see `log_count_ratios`."""
        kind = np.int64 if self.counts_N.dtype == np.int32 else np.float64
        return log_count_ratios(self.counts_N.reshape(1 << bits, -1, self.num_classes).sum(axis=1, dtype=kind))


def log_count_ratios(counts_KC: npt.NDArray[Any]) -> Floats:
    """r: float32 (K, columns), from the number of reviews of each class with each bucket. Two classes: r of the second.

    r_kc = log((p_kc / Σ_k p_kc) / (q_kc / Σ_k q_kc)),   p_kc = 1 + reviews of class c with bucket k,   q_kc: the others

    Source: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification", section 2.3.
    """
    total_K = counts_KC.sum(axis=1)
    ratio_KC = np.empty((len(counts_KC), num_columns(counts_KC.shape[1])), np.float32)
    for column in range(ratio_KC.shape[1]):
        label = 1 if ratio_KC.shape[1] == 1 else column
        p_K, q_K = 1.0 + counts_KC[:, label], 1.0 + (total_K - counts_KC[:, label])
        ratio_KC[:, column] = np.log(p_K / p_K.sum()) - np.log(q_K / q_K.sum())
    # A bucket that no review touches is uninformative.
    ratio_KC[total_K == 0] = 0.0
    return ratio_KC
