"""What is learned: the questions that training, evaluation, bundles and scoring ask, and that each task answers.

A task says which rows it learns from and which column of the shards has their targets, how wide a model's output is, what
the loss of an output is, how good outputs are, and what a user reads instead of them. Everything else, such as the loop,
the order, checkpoints and ranks, is the same for all tasks. A task is a value: it holds what the data decided, such as the
labels, and what the training part decided, such as class weights.

B rows of a batch, N rows of a part, C outputs of a model, K buckets of n-grams, J parts of a model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.tasks.figures import Doubles, Evaluation
from pipeline.tasks.kinds import Kind

if TYPE_CHECKING:
    from pipeline.datapipes.train_collate import Batch
    from pipeline.text.ngrams import Buckets

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Targets = npt.NDArray[Any]
"""(N,): int64 or float64, as the task reads them."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs (B, C) and targets to the loss, summed over the rows."""


class Ranks(Protocol):
    """What a meter needs from the processes that evaluate together."""

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, in place."""

    def concatenate(self, rows: Tensor) -> Tensor:
        """The rows (n, M) of all ranks, in the order of ranks."""


class Meter(Protocol):
    """Gathers what an evaluation is computed from, on one rank."""

    def add(self, outputs_BC: Tensor, targets: Tensor) -> None:
        """Adds a batch."""

    def evaluation(self, ranks: Ranks, tokens: int) -> Evaluation:
        """The figures of all ranks together; every rank calls it. `tokens`: those of this rank."""


class Objective(Protocol):
    """What the loop and the evaluation ask: the part of a `Task` that a language model has, too."""

    def targets(self, batch: "Batch") -> Tensor:
        """What the outputs of a batch are compared with."""

    def softened(self, targets_B: Tensor, soft_UC: Tensor | None) -> Tensor:
        """The targets, with those of unlabelled rows put in."""

    def loss_on(self, device: torch.device) -> Loss:
        """The loss that is minimised."""

    def units(self, batch: "Batch") -> int:
        """What the losses of a batch are averaged over, of this rank, in the figures of an epoch."""

    def global_units(self, batch: "Batch") -> int:
        """What its gradients are averaged over: a number that each rank knows."""

    def tally(self, outputs_BC: Tensor, targets: Tensor) -> Tensor:
        """A figure of a training batch, summed over its rows."""

    def running(self, loss: float, tally: float) -> dict[str, float]:
        """The figures of an epoch's training from the means of loss and tally."""

    def in_words(self, figures: Mapping[str, float]) -> str:
        """Figures of an epoch, for a line of the log."""

    def meter(self, device: torch.device) -> Meter:
        """What evaluates a part batch by batch."""


class NgramStatistics(Protocol):
    """What the linear n-gram model has to know of each bucket before it is fitted."""

    def add(self, found: "Buckets", targets_B: Targets) -> None:
        """Adds the distinct buckets of a batch's reviews; `targets_B`: what `Task.targets` gives, or soft targets (B, C)."""

    def distinct(self) -> int:
        """Number of buckets that any review has."""

    def ratios(self, bits: int) -> Floats:
        """How much each of 2^bits buckets says (K, columns); its weight is multiplied by it. Fewer bits merge buckets."""


class Task(ABC):
    """The questions. Frozen dataclasses derive from it."""

    kind: ClassVar[Kind]
    splits: ClassVar[tuple[str, ...]] = ("train",)
    """Splits of the table whose rows may become the training part."""
    headline: ClassVar[str]
    """The figure that people are told first, such as `accuracy`."""
    baseline_figures: ClassVar[tuple[str, ...]]
    """The figures that are noted of the linear model that is fitted for comparison."""
    needs_scale: ClassVar[bool] = False
    """Whether the headline figure of a part of a model depends on its scale, so that it gets its own where it is alone."""

    # What is learned from.

    @property
    @abstractmethod
    def column(self) -> str | None:
        """The shards' column with the targets; None if every review is its own target."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Names of a model's outputs, in order."""

    @property
    def num_outputs(self) -> int:
        """C."""
        return len(self.outputs)

    @abstractmethod
    def read(self, column: pa.ChunkedArray, where: str) -> Targets:
        """The targets (N,) of a column, and for rows without one what `strata` knows as such.

        Raises:
            DataError: values that the task does not know; `where` names the shard.
        """

    @abstractmethod
    def strata(self, targets_N: Targets) -> Ints:
        """The class of rows that each belongs to, from 0, for a stratified validation part; -1 without a target."""

    @abstractmethod
    def summary(self, targets_N: Targets) -> list[float]:
        """What the task has to know of the training part, as JSON values.

        Raises:
            DataError: nothing can be learned from it.
        """

    @abstractmethod
    def nothing_to_learn(self) -> str:
        """The error where no row of the training splits has a target, and its remedy."""

    def identity(self) -> dict[str, Any]:
        """What determines the task beside the options of training, for the identity of the training."""
        return {}

    # The training.

    def targets(self, batch: "Batch") -> Tensor:
        """What the outputs of a batch are compared with."""
        return batch.targets

    def softened(self, targets_B: Tensor, soft_UC: Tensor | None) -> Tensor:
        """The targets, with those of unlabelled rows put in; only for tasks that learn from unlabelled rows."""
        assert soft_UC is None, self.kind.name
        return targets_B

    def soft_targets(self, outputs_NC: Doubles) -> Doubles:
        """What a model that outputs this teaches about unlabelled rows (N, C); only for tasks that learn from them."""
        raise NotImplementedError(self.kind.name)

    def mixed(self, soft_NC: Floats, targets_N: Targets, weight: float) -> Floats:
        """Soft targets (N, C) of which the share `weight` is a teacher's where a row has a target of its own; only for tasks
        that learn from teachers."""
        raise NotImplementedError(self.kind.name)

    @abstractmethod
    def loss_on(self, device: torch.device) -> Loss:
        """The loss that is minimised."""

    def units(self, batch: "Batch") -> int:
        """What the losses of a batch are averaged over: this rank's rows."""
        return batch.rows

    def global_units(self, batch: "Batch") -> int:
        """The same of all ranks together, which each of them knows."""
        return batch.global_rows

    def divergence(self, outputs_BC: Tensor, expected_BC: Tensor) -> Tensor:
        """How far outputs are from others, summed over the rows; only for tasks with `--virtual-adversarial`."""
        raise NotImplementedError(self.kind.name)

    @abstractmethod
    def tally(self, outputs_BC: Tensor, targets: Tensor) -> Tensor:
        """A figure of a training batch, summed over its rows: a scalar on the device."""

    @abstractmethod
    def running(self, loss: float, tally: float) -> dict[str, float]:
        """The figures of an epoch's training, by their column in metrics.parquet, from the means of loss and tally."""

    def facts(self) -> dict[str, Any]:
        """What the metrics note about how the task was trained."""
        return {}

    # The evaluation.

    @abstractmethod
    def meter(self, device: torch.device) -> Meter:
        """What evaluates a part batch by batch."""

    @abstractmethod
    def evaluate(self, outputs_NC: Doubles, targets_N: Targets, tokens: int) -> Evaluation:
        """The figures for a part's outputs."""

    @abstractmethod
    def measures(self, found: Evaluation, outputs_NC: Doubles, targets_N: Targets) -> dict[str, float]:
        """The figures of a part for model.json, `loss` first."""

    @abstractmethod
    def in_words(self, figures: Mapping[str, float]) -> str:
        """Figures of an epoch, for a line of the log."""

    def is_better(self, metric: str, one: float, other: float) -> bool:
        """Whether a value of a selection is better than another."""
        return one < other if metric in ("loss", "mae", "rmse", "perplexity") else one > other

    def doubts(self, found: Evaluation) -> "Doubt | None":
        """What makes a finished model worthless although its loss is finite."""
        return None

    # The parts of a model: see `training/blending.py`.

    @abstractmethod
    def fit_scales(
        self, outputs_JNC: Sequence[Doubles], targets_N: Targets, start_J: Sequence[float], *, weighted: bool = False
    ) -> list[float]:
        """The scale of each part of a model, so that their sum is best on these rows. `weighted`: rows count as they do in
        the loss."""

    @property
    def weights_rows(self) -> bool:
        """Whether rows count differently in the loss."""
        return False

    @abstractmethod
    def ngram_statistics(self, bits: int) -> NgramStatistics:
        """What the linear n-gram model is prepared with."""

    # What a user reads.

    @abstractmethod
    def answers(self, outputs_BC: Tensor) -> Tensor:
        """What is stored of a review's outputs: probabilities (B, C), say."""

    @abstractmethod
    def explained(self, answers_NC: Floats) -> Ints:
        """The output (N,) that an explanation of each row speaks of."""

    @abstractmethod
    def merits(self, answers_NC: Floats, targets: pa.ChunkedArray, labels: Sequence[str]) -> Doubles:
        """What each answer is worth (N,), to compare two models on the same rows; higher is better.

        Args:
            targets: the shards' column; of labels, their IDs among `labels`, which may have another order than the task's.
        """

    def is_comparable(self, other: "Task") -> str:
        """Why models of both tasks cannot be compared; "" if they can. `other`: the live model's, of the same kind and
        column.
        """
        return ""

    def labels_of_bundle(self) -> tuple[str, ...]:
        """The labels in model.json; only classification has any."""
        return ()

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What model.json says of the task, beside `labels`; empty for classification, as in earlier releases."""


@dataclass(frozen=True)
class Doubt:
    """A warning; `brief` quotes nothing of the input; `facts` go into the metrics."""

    message: str
    brief: str
    facts: dict[str, Any]
