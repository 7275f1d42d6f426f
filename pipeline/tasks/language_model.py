"""The language model: every review is its own target, and a model outputs what it costs, in nats, in each direction.

B rows of a batch, D directions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.datapipes.train_collate import Batch
from pipeline.tasks.base import Loss, Ranks
from pipeline.tasks.figures import Evaluation

MOST_NATS = 700.0
"""The perplexity of more would be infinite, which is no JSON number."""


def perplexity(loss: float) -> float:
    """exp of the mean loss per predicted token: among how many equally likely tokens a model is undecided."""
    return math.exp(min(loss, MOST_NATS))


@dataclass(frozen=True, kw_only=True)
class LanguageEvaluation(Evaluation):
    """`loss` is the mean over predicted tokens, in nats."""

    def figures(self) -> dict[str, float]:
        """The perplexity."""
        return {"perplexity": perplexity(self.loss)}

    def score(self, metric: str) -> float:
        """The negative loss, whatever is asked for: perplexity orders models in the same way."""
        return -self.loss


@dataclass(frozen=True)
class LanguageModelling:
    """`num_directions` is D; `max_length`: the most tokens of a review that are read."""

    num_directions: int
    max_length: int

    def targets(self, batch: Batch) -> Tensor:
        """The lengths of the reviews (B,): how many tokens are predicted follows from them."""
        return batch.lengths

    def softened(self, targets_B: Tensor, soft_UC: Tensor | None) -> Tensor:
        """The targets as they are."""
        return targets_B

    def loss_on(self, device: torch.device) -> Loss:
        """The sum of what the reviews cost."""
        return lambda outputs_BD, targets_B: outputs_BD.sum()

    def units(self, batch: Batch) -> int:
        """This rank's predicted tokens."""
        return (batch.tokens - batch.rows) * self.num_directions

    def global_units(self, batch: Batch) -> int:
        """The tokens of a batch of the longest reviews. Every predicted token then weighs the same over an epoch, in a batch
        of long reviews and in one of short ones."""
        return batch.global_rows * self.max_length * self.num_directions

    def tally(self, outputs_BD: Tensor, targets_B: Tensor) -> Tensor:
        """Nothing beside the loss."""
        return outputs_BD.new_zeros(())

    def running(self, loss: float, tally: float) -> dict[str, float]:
        """The perplexity."""
        return {"perplexity": perplexity(loss)}

    def in_words(self, figures: Mapping[str, float]) -> str:
        """The perplexity."""
        return f"perplexity {figures['perplexity']:.1f}"

    def meter(self, device: torch.device) -> "LanguageMeter":
        """Sums over predicted tokens."""
        return LanguageMeter(self.num_directions, device)


class LanguageMeter:
    """Sums costs and counts predicted tokens, on the device."""

    def __init__(self, num_directions: int, device: torch.device) -> None:
        self.num_directions = num_directions
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)
        """Costs, predicted tokens, rows."""

    def add(self, outputs_BD: Tensor, targets_B: Tensor) -> None:
        """Adds a batch of costs and lengths."""
        predicted = (targets_B - 1).sum() * self.num_directions
        self.sums += torch.stack(
            [outputs_BD.double().sum(), predicted.double(), predicted.new_tensor(len(targets_B)).double()]
        )

    def evaluation(self, ranks: Ranks, tokens: int) -> LanguageEvaluation:
        """The figures of all ranks together."""
        counted = torch.tensor([tokens], device=self.sums.device).double()
        cost, predicted, rows, read = ranks.sum(torch.cat([self.sums, counted])).tolist()
        return LanguageEvaluation(loss=cost / max(predicted, 1.0), rows=int(rows), tokens=int(read))
