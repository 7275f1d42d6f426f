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

from pipeline.lake.content import READ_ERRORS, open_parquet
from pipeline.lake.damage import REPAIR, damaged
from pipeline.models.layers.ngram_linear import NgramLinear
from pipeline.order.selection import UNLABELLED, Part
from pipeline.tasks.base import Floats, Targets, Task
from pipeline.tasks.figures import Doubles
from pipeline.training.blending import Reading, collect

log = logging.getLogger(__name__)

SMALLEST = 1e-30
"""Added to probabilities before their logarithm is taken."""


@dataclass(frozen=True, kw_only=True)
class SoftTargets:
    """`targets_UC`: the soft target of each of the U rows that bear one, in the part's order; `valid`: the teacher's figures
    on validation rows."""

    targets_UC: Floats
    valid: dict[str, float]


class Answers(Protocol):
    """A teacher."""

    def valid(self, part: Part) -> tuple[Doubles, Targets]:
        """Calibrated outputs (N, C) for the validation part, and its targets, in any order common to both."""

    def soft(self, part: Part) -> Floats:
        """Soft targets (U, C) of the rows that bear some, in their order."""


def soft_targets(
    teacher: Answers, task: Task, parts: Mapping[str, Part], learned: Part, weight: float, name: str
) -> SoftTargets:
    """What a student learns from a teacher.

    Args:
        parts: `valid` and `unlabelled`.
        learned: all rows that the student learns from; with a weight, each of them bears a soft target.
        name: the teacher's, for the log.

    Raises:
        DataError: damaged shards.
        StoppedError: a signal came.
    """
    figures = task.evaluate(*teacher.valid(parts["valid"]), 0).figures()
    targets_UC = teacher.soft(learned if weight else parts[UNLABELLED])
    if weight:
        targets_UC = task.mixed(targets_UC, part_targets(learned, task), weight)
    rows = f"{len(targets_UC):,}{'' if weight else ' unlabelled'}"
    log.info("%s labelled %s reviews (its %s on validation rows)", name, rows, task.in_words(figures))
    return SoftTargets(targets_UC=targets_UC, valid=figures)


class NgramTeacher:
    """The linear model of n-grams as a teacher; its scale is fitted when the validation part is read."""

    def __init__(self, model: NgramLinear, task: Task, reading: Reading) -> None:
        self.model = model
        self.task = task
        self.reading = reading
        self.scale = [1.0]

    def valid(self, part: Part) -> tuple[Doubles, Targets]:
        found = collect([self.model], part, self.reading, "teacher")
        self.scale = self.task.fit_scales(found.outputs_JNC, found.targets_N, [1.0])
        return found.blended(self.scale), found.targets_N

    def soft(self, part: Part) -> Floats:
        found = collect([self.model], part, self.reading, "label")
        (rows,) = np.nonzero(found.targets_N < 0)
        targets_UC = np.empty((len(rows), found.outputs_JNC[0].shape[1]), np.float32)
        # Rows come sorted by length; those with soft targets carry their number, see `DecodedGroup`.
        targets_UC[-1 - found.targets_N[rows]] = self.task.soft_targets(found.blended(self.scale))[rows]
        return targets_UC


class Probabilities(Protocol):
    """Where the probabilities of a model for the rows of a part are kept."""

    def read(self, part: Part) -> Floats:
        """The probabilities (N, C) of the N rows of a part, in its order."""


class ModelTeacher:
    """A trained model as a teacher. `calibrate`: it was trained without, so its scale is fitted here."""

    def __init__(self, store: Probabilities, task: Task, *, calibrate: bool = False) -> None:
        self.store = store
        self.task = task
        self.calibrate = calibrate
        self.scale = 1.0

    def valid(self, part: Part) -> tuple[Doubles, Targets]:
        outputs_NC, targets_N = self._outputs(part), part_targets(part, self.task)
        if self.calibrate:
            self.scale = self.task.fit_scales([outputs_NC], targets_N, [1.0])[0]
        return self.scale * outputs_NC, targets_N

    def soft(self, part: Part) -> Floats:
        if self.scale == 1.0:
            return self.store.read(part)
        return self.task.soft_targets(self.scale * self._outputs(part)).astype(np.float32)

    def _outputs(self, part: Part) -> Doubles:
        return np.log(self.store.read(part).astype(np.float64) + SMALLEST)


def part_targets(part: Part, task: Task) -> Targets:
    """The targets of a part's rows, in its order, as the task reads them.

    Raises:
        InputNotFoundError, DataError: a shard is gone or damaged.
    """
    assert part.column is not None
    found = [np.zeros(0, np.int64)]
    for group, rows in zip(part.groups, part.selected, strict=True):
        if not len(rows):
            continue
        try:
            with open_parquet(group.path) as file:
                column = file.read_row_group(group.index, columns=[part.column], use_threads=False).column(0)
        except READ_ERRORS as error:
            raise damaged(group.path, error, "the token shard", REPAIR) from error
        found.append(task.read(column, str(group.path))[rows])
    return np.concatenate(found)
