"""The minimal LSTM: forget and input gate see the token alone and are normalised to sum to 1.

    f_t = σ(W_f x_t + b_f)        i_t = σ(W_i x_t + b_i)        h̃_t = W_h x_t + b_h
    f'_t = f_t / (f_t + i_t)      i'_t = i_t / (f_t + i_t)
    h_t = f'_t ⊙ h_{t−1} + i'_t ⊙ h̃_t,   h_0 = 0

x_t: E features of token t; gates, h̃_t, h_t: H features. States are h: (B, T, H). f' = σ(log f − log i), so that it is a
gated average like `mingru`. The forget bias starts at timescales of 1 to 64 tokens.

Source: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?", arXiv 2410.01201, section 3.2.
"""

from torch import Tensor
from torch.nn.functional import logsigmoid

from pipeline.models.layers.scan_cell import AverageCell, blocks, remember
from pipeline.models.layers.scan_classifier import ScanClassifier


class MinLSTMCell(AverageCell):
    """One layer. Equations and shapes at the top of the file."""

    def __init__(self, input_dim: int, hidden_dim: int, *, bidirectional: bool = False) -> None:
        super().__init__(input_dim, hidden_dim, bidirectional=bidirectional)
        self.projection = blocks(input_dim, hidden_dim, 3 * self.output_dim // hidden_dim)
        """Forget gates of both directions, then input gates, then candidates."""
        remember(self.projection.bias[: self.output_dim])

    def gate_and_values(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """f' before its σ, and h̃."""
        forget, write, candidate = self.projection(inputs).chunk(3, dim=-1)
        return logsigmoid(forget) - logsigmoid(write), candidate


class MinLSTM(ScanClassifier, cell=MinLSTMCell):
    """Minimal LSTM, one direction. Equations and shapes at the top of the file."""

    year = 2024
    paper = "Feng et al. 2024, Were RNNs all we needed?"
    summary = "LSTM whose gates see the token alone: a scan"
