"""The simple recurrent unit: gates that see the token alone, and a highway around the recurrence.

    x̃_t = W x_t        f_t = σ(W_f x_t + b_f)        r_t = σ(W_r x_t + b_r)
    c_t = f_t ⊙ c_{t−1} + (1 − f_t) ⊙ x̃_t,   c_0 = 0
    h_t = r_t ⊙ tanh(c_t) + (1 − r_t) ⊙ α x'_t,   α = √(1 + 2 e^b) = √3 for the bias b_r = b = 0 of the start

x_t: E features of token t; all others H features. x' = x where E = H, else W' x. States are h: (B, T, H). α keeps the
variance of h near that of x. The paper's revision lets the gates see c_{t−1} too, which no scan computes. The forget bias
starts at timescales of 1 to 64 tokens, the paper's at 0.

Source: Lei, Zhang & Artzi 2017, "Training RNNs as fast as CNNs", arXiv 1709.02755, first version, section 2.1; α: its
revision "Simple recurrent units for highly parallelizable recurrence", EMNLP 2018, section 3.2.
"""

import math

import torch
from torch import Tensor

from pipeline.models.layers.rows import Rows
from pipeline.models.layers.scan_cell import ScanCell, blocks, remember
from pipeline.models.layers.scan_classifier import ScanClassifier

ALPHA = math.sqrt(3)


class SRUCell(ScanCell):
    """One layer. Equations and shapes at the top of the file."""

    def __init__(self, input_dim: int, hidden_dim: int, *, bidirectional: bool = False) -> None:
        super().__init__(input_dim, hidden_dim, bidirectional=bidirectional)
        self.plain = input_dim == hidden_dim
        kinds = 3 if self.plain else 4
        self.projection = blocks(input_dim, hidden_dim, kinds * self.output_dim // hidden_dim)
        """Forget gates of both directions, x̃, then r, then x' where the sizes differ."""
        remember(self.projection.bias[: self.output_dim])

    def forward(self, inputs: Tensor, rows: Rows) -> Tensor:
        """The states h (…, S)."""
        size = self.output_dim
        averaged, reset, *others = self.projection(inputs).split([2 * size] + [size] * (1 if self.plain else 2), dim=-1)
        cell = rows.joint_average(averaged, self.direction)
        highway = others[0] if others else torch.cat([inputs] * (2 if self.bidirectional else 1), dim=-1)
        return torch.lerp(ALPHA * highway.to(cell.dtype), torch.tanh(cell), torch.sigmoid(reset.to(cell.dtype)))


class SRU(ScanClassifier, cell=SRUCell):
    """Simple recurrent unit, one direction. Equations and shapes at the top of the file."""

    year = 2017
    paper = "Lei, Zhang & Artzi 2017, Training RNNs as fast as CNNs"
    summary = "gates of the token alone, with a highway: a scan"
