"""Gated recurrent units in both directions.

    →h_t = GRU(x_t, →h_{t−1}),   ←h_t = GRU'(x_t, ←h_{t+1}),   s_t = [→h_t ; ←h_t]

The equations of each GRU are those of `gru.py`; the two share no weights. x_t: E features; each direction H; states s
are (B, T, 2H). Pooling `last` takes →h_L and ←h_1. The book's deep one is `--layers 2 --dropout 0.8`.

Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", EMNLP, equations 5 to 8; both directions: Schuster & Paliwal 1997.
"""

from torch import Tensor, nn

from pipeline.models.interface import RecurrentConfig, ReviewClassifier
from pipeline.models.layers.recurrent import stacked, torch_layer


class BiGRU(ReviewClassifier):
    """gated recurrent units read from both ends. Equations and shapes stand at the file's top."""

    Config = RecurrentConfig
    year = 2014
    paper = "Cho et al. 2014, Learning phrase representations using RNN encoder-decoder"
    summary = "gated recurrent units read from both ends"

    def __init__(self, config: RecurrentConfig) -> None:
        encoder = stacked(torch_layer(nn.GRU), config, bidirectional=True)
        super().__init__(config, encoder.output_dim, bidirectional=True)
        self.encoder = encoder

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, 2H)."""
        states_BTS: Tensor = self.encoder(embedded_BTE, lengths_B)
        return states_BTS
