"""Cells whose state moves elementwise, so that all products are made for all positions at once and a scan remains.

E input features, H hidden features of a direction, S of all directions (H or 2H, forward first).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.models.layers.rows import Rows
from pipeline.models.layers.scan import Direction

LONGEST_TIMESCALE = 64.0
"""Tokens after which a gate that starts at its bias alone has forgotten all but 1/e, at most."""


class ScanCell(nn.Module, ABC):
    """One layer, in one direction or in both, which share no weights.

    A cell writes `forward` with operations on the last dimension and those of `Rows`; training, which pads, and scoring,
    which does not, then both use it.
    """

    def __init__(self, input_dim: int, hidden_dim: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        self.input_dim, self.hidden_dim, self.bidirectional = input_dim, hidden_dim, bidirectional
        self.direction: Direction = "both" if bidirectional else "forward"
        self.output_dim = hidden_dim * (2 if bidirectional else 1)

    @abstractmethod
    def forward(self, inputs: Tensor, rows: Rows) -> Tensor:
        """The states (…, S) of the inputs (…, E). Those at padding may have any value."""

    def table(self, words_VE: Tensor) -> Tensor | None:
        """a and b of each word side by side, (V, 2S), if the states are a real scan of what each word says by itself: such
        a layer is scored by look-ups. None otherwise."""
        return None


class AverageCell(ScanCell):
    """A cell whose states are gated averages: it writes `gate_and_values`."""

    @abstractmethod
    def gate_and_values(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The gate, whose σ says how much of the state is kept, and the values to average: (…, S) each."""

    def forward(self, inputs: Tensor, rows: Rows) -> Tensor:
        """The states (…, S)."""
        return rows.average(*self.gate_and_values(inputs), self.direction)

    def table(self, words_VE: Tensor) -> Tensor | None:
        """a and b of each word."""
        gate, values = self.gate_and_values(words_VE)
        return torch.cat([torch.sigmoid(gate), torch.sigmoid(-gate) * values], dim=-1)


def blocks(input_dim: int, hidden_dim: int, number: int) -> nn.Linear:
    """A product with `number` matrices H × E, one below the other: Xavier weights, zero biases."""
    layer = nn.Linear(input_dim, number * hidden_dim)
    for block in torch.split(layer.weight.detach(), hidden_dim):
        nn.init.xavier_uniform_(block)
    nn.init.zeros_(layer.bias)
    return layer


def remember(bias: Tensor) -> None:
    """Sets the biases of gates that keep the state such that they remember for u tokens, log u uniform in 0 … log 64.

    b = log(u − 1 + ε), so that σ(b) ≈ 1 − 1/u.

    Source: Tallec & Ollivier 2018, "Can recurrent neural networks warp time?", ICLR, section 2, with log-uniform u.
    """
    with torch.no_grad():
        timescale = torch.empty_like(bias).uniform_(0, math.log(LONGEST_TIMESCALE)).exp()
        bias.copy_(torch.log(timescale - 1 + 0.5))


MakeCell = Callable[..., ScanCell]
"""Called with input and hidden features, `bidirectional`, and the cell's own options."""


def called(cell: nn.Module, inputs: Tensor, rows: Rows) -> Tensor:
    """The cell's states."""
    return cast(Tensor, cell(inputs, rows))
