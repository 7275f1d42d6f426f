"""Elman's recurrent network.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh),   h_0 = 0

x_t: E features of token t; h_t: H features. Pooling reads h_1 … h_L of a review of L tokens; states are (B, T, H).

Source: Elman 1990, "Finding structure in time", Cognitive Science 14(2), section "Recurrent networks"; tanh in place
of the logistic function, as in torch's `nn.RNN`, which does the work.
"""

from torch import Tensor, nn

from pipeline.models.interface import RecurrentConfig, ReviewClassifier
from pipeline.models.layers.recurrent import stacked, torch_layer


class RNN(ReviewClassifier):
    """Elman RNN: one tanh layer that feeds back into itself. Equations and shapes stand at the file's top."""

    Config = RecurrentConfig
    year = 1990
    paper = "Elman 1990, Finding structure in time"
    summary = "Elman RNN: one tanh layer that feeds back into itself"

    def __init__(self, config: RecurrentConfig) -> None:
        encoder = stacked(torch_layer(nn.RNN), config)
        super().__init__(config, encoder.output_dim)
        self.encoder = encoder

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, H)."""
        states_BTS: Tensor = self.encoder(embedded_BTE, lengths_B)
        return states_BTS
