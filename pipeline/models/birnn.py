"""Elman's recurrent network in both directions.

    →h_t = tanh(W x_t + U →h_{t−1} + b),   ←h_t = tanh(W' x_t + U' ←h_{t+1} + b'),   s_t = [→h_t ; ←h_t]

x_t: E features of token t; each direction H; states s are (B, T, 2H). The backward one starts at the review's last
token. Pooling `last` takes →h_L and ←h_1: the final states of both.

Source: Schuster & Paliwal 1997, "Bidirectional recurrent neural networks", IEEE Transactions on Signal Processing
45(11), section II.B.
"""

from torch import Tensor, nn

from pipeline.models.interface import RecurrentConfig, ReviewClassifier
from pipeline.models.layers.recurrent import stacked, torch_layer


class BiRNN(ReviewClassifier):
    """Elman RNN read from both ends. Equations and shapes stand at the file's top."""

    Config = RecurrentConfig
    year = 1997
    paper = "Schuster & Paliwal 1997, Bidirectional recurrent neural networks"
    summary = "Elman RNN read from both ends"

    def __init__(self, config: RecurrentConfig) -> None:
        encoder = stacked(torch_layer(nn.RNN), config, bidirectional=True)
        super().__init__(config, encoder.output_dim, bidirectional=True)
        self.encoder = encoder

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, 2H)."""
        states_BTS: Tensor = self.encoder(embedded_BTE, lengths_B)
        return states_BTS
