"""The minimal gated recurrent unit: a GRU whose gate and candidate see the token alone.

    z_t = σ(W_z x_t + b_z)        h̃_t = W_h x_t + b_h
    h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ h̃_t,   h_0 = 0

x_t: E features of token t; z_t, h̃_t, h_t: H features. States are h: (B, T, H). All products are made for all tokens at
once; what remains is a scan. The parameters are those of the gate that keeps: 1 − z_t = σ(W x_t + b), W = −W_z, b = −b_z.
Its bias starts at timescales of 1 to 64 tokens (Tallec & Ollivier 2018), the paper's at 0.

Source: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?", arXiv 2410.01201, section 3.1.
"""

from torch import Tensor

from pipeline.models.layers.rows import Rows
from pipeline.models.layers.scan_cell import AverageCell, blocks, remember
from pipeline.models.layers.scan_classifier import ScanClassifier


class MinGRUCell(AverageCell):
    """One layer. Equations and shapes at the top of the file."""

    def __init__(self, input_dim: int, hidden_dim: int, *, bidirectional: bool = False) -> None:
        super().__init__(input_dim, hidden_dim, bidirectional=bidirectional)
        self.projection = blocks(input_dim, hidden_dim, 2 * self.output_dim // hidden_dim)
        """Gates of both directions, then candidates of both."""
        remember(self.projection.bias[: self.output_dim])

    def forward(self, inputs: Tensor, rows: Rows) -> Tensor:
        """The states h (…, S)."""
        return rows.joint_average(self.projection(inputs), self.direction)

    def gate_and_values(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """1 − z before its σ, and h̃."""
        gate, values = self.projection(inputs).chunk(2, dim=-1)
        return gate, values


class MinGRU(ScanClassifier, cell=MinGRUCell):
    """Minimal gated recurrent unit, one direction. Equations and shapes at the top of the file."""

    year = 2024
    paper = "Feng et al. 2024, Were RNNs all we needed?"
    summary = "GRU whose gates see the token alone: a scan"
