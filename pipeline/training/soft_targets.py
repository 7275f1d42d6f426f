"""Distillation and self-training: a teacher labels reviews with probabilities, and a student also learns from these.

    q(y | x) = softmax(s · g(x))              without a label
    (1 − w) · [y = label] + w · q(y | x)      with one

g: the teacher's logits; s: its scale, fitted on the validation part, so q is as confident as g is accurate there; w: the
teacher's weight. The teacher is another model, or the linear model of n-grams, fitted on the training part in the same run.
The student learns the whole distribution, not the most probable class.

Source: Hinton et al. 2015, "Distilling the knowledge in a neural network"; Xie et al. 2020, "Self-training with noisy
student improves ImageNet classification".
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.lake.content import READ_ERRORS, open_parquet
from pipeline.lake.damage import REPAIR, damaged
from pipeline.models.layers.ngram_linear import NgramLinear
from pipeline.order.selection import UNLABELLED, Part
from pipeline.training.blending import Reading, collect
from pipeline.training.calibration import fit_scales, softmax

log = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
SMALLEST = 1e-30
"""Added to probabilities before their logarithm is taken."""


@dataclass(frozen=True, kw_only=True)
class SoftTargets:
    """`targets_UC`: the target distribution of each of the U rows that bear one, in the part's order; `valid_accuracy`: the
    teacher's accuracy on validation rows."""

    targets_UC: Floats
    valid_accuracy: float


class Answers(Protocol):
    """A teacher."""

    def valid(self, part: Part) -> tuple[Floats, Ints]:
        """Calibrated probabilities (N, C) and labels (N,) of the validation part, in any order common to both."""

    def soft(self, part: Part) -> Floats:
        """Calibrated probabilities (U, C) of the rows that bear soft targets, in their order."""


def soft_targets(teacher: Answers, parts: Mapping[str, Part], learned: Part, weight: float, name: str) -> SoftTargets:
    """What a student learns from a teacher.

    Args:
        parts: `valid` and `unlabelled`.
        learned: all rows that the student learns from; with a weight, each of them bears a soft target.
        name: the teacher's, for the log.

    Raises:
        DataError: damaged shards.
        StoppedError: a signal came.
    """
    probability_NC, labels_N = teacher.valid(parts["valid"])
    accuracy = float(np.mean(probability_NC.argmax(axis=1) == labels_N))
    targets_UC = teacher.soft(learned if weight else parts[UNLABELLED])
    if weight:
        targets_UC = _mixed(targets_UC, part_labels(learned), weight)
    log.info(
        "%s labelled %s %sreviews (its accuracy on validation rows: %.2f %%)",
        name,
        f"{len(targets_UC):,}",
        "" if weight else "unlabelled ",
        100 * accuracy,
    )
    return SoftTargets(targets_UC=targets_UC, valid_accuracy=accuracy)


class NgramTeacher:
    """The linear model of n-grams as a teacher; its scale is fitted when the validation part is read."""

    def __init__(self, model: NgramLinear, reading: Reading) -> None:
        self.model = model
        self.reading = reading
        self.scale = [1.0]

    def valid(self, part: Part) -> tuple[Floats, Ints]:
        found = collect([self.model], part, self.reading, "teacher")
        self.scale = fit_scales(found.logits_JNC, found.labels_N, [1.0])
        return softmax(found.blended(self.scale)).astype(np.float32), found.labels_N

    def soft(self, part: Part) -> Floats:
        found = collect([self.model], part, self.reading, "label")
        soft_N = found.labels_N < 0
        targets_UC = np.empty((int(soft_N.sum()), found.logits_JNC[0].shape[1]), np.float32)
        # Rows come sorted by length; those with soft targets carry their number, see `DecodedGroup`.
        targets_UC[-1 - found.labels_N[soft_N]] = softmax(found.blended(self.scale))[soft_N]
        return targets_UC


class Probabilities(Protocol):
    """Where the probabilities of a model for the rows of a part are kept."""

    def read(self, part: Part) -> Floats:
        """The probabilities (N, C) of the N rows of a part, in its order."""


class ModelTeacher:
    """A trained model as a teacher. `calibrate`: it was trained without, so its scale is fitted here."""

    def __init__(self, store: Probabilities, *, calibrate: bool = False) -> None:
        self.store = store
        self.calibrate = calibrate
        self.scale = 1.0

    def valid(self, part: Part) -> tuple[Floats, Ints]:
        probability_NC, labels_N = self.store.read(part), part_labels(part)
        if self.calibrate:
            self.scale = fit_scales([np.log(probability_NC.astype(np.float64) + SMALLEST)], labels_N, [1.0])[0]
        return self._scaled(probability_NC), labels_N

    def soft(self, part: Part) -> Floats:
        return self._scaled(self.store.read(part))

    def _scaled(self, probability_NC: Floats) -> Floats:
        if self.scale == 1.0:
            return probability_NC
        return softmax(self.scale * np.log(probability_NC.astype(np.float64) + SMALLEST)).astype(np.float32)


def part_labels(part: Part) -> Ints:
    """The labels of a part's rows, in its order; −1 without one.

    Raises:
        InputNotFoundError, DataError: a shard is gone or damaged.
    """
    found = [np.zeros(0, np.int64)]
    for group, rows in zip(part.groups, part.selected, strict=True):
        if not len(rows):
            continue
        try:
            with open_parquet(group.path) as file:
                column = file.read_row_group(group.index, columns=["label"], use_threads=False).column(0)
        except READ_ERRORS as error:
            raise damaged(group.path, error, "the token shard", REPAIR) from error
        found.append(column.fill_null(-1).to_numpy().astype(np.int64)[rows])
    return np.concatenate(found)


def _mixed(probability_UC: Floats, labels_U: Ints, weight: float) -> Floats:
    """The targets at the file's top."""
    (labelled,) = np.nonzero(labels_U >= 0)
    mixed_UC = probability_UC.copy()
    mixed_UC[labelled] *= weight
    mixed_UC[labelled, labels_U[labelled]] += 1.0 - weight
    return mixed_UC
