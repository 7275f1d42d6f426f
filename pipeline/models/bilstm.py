"""LSTM in both directions.

    →h_t = LSTM(x_t, →h_{t−1}),   ←h_t = LSTM'(x_t, ←h_{t+1}),   s_t = [→h_t ; ←h_t]

The equations of each LSTM are those of `lstm.py`; the two share no weights. x_t: E features; each direction H;
states s are (B, T, 2H). The backward one starts at the review's last token, never in its padding. With `--layers`,
both directions of the layer above read s. Pooling `last` takes →h_L and ←h_1: the final states of both.

Source: Graves & Schmidhuber 2005, "Framewise phoneme classification with bidirectional LSTM and other neural network
architectures", Neural Networks 18(5–6), section 2.2.
"""

from torch import Tensor, nn

from pipeline.models.interface import RecurrentConfig, ReviewClassifier
from pipeline.models.layers.recurrent import stacked, torch_layer


class BiLSTM(ReviewClassifier):
    """LSTM read from both ends. Equations and shapes stand at the file's top."""

    Config = RecurrentConfig
    year = 2005
    paper = "Graves & Schmidhuber 2005, Framewise phoneme classification with bidirectional LSTM"
    summary = "LSTM read from both ends"

    def __init__(self, config: RecurrentConfig) -> None:
        encoder = stacked(torch_layer(nn.LSTM), config, bidirectional=True)
        super().__init__(config, encoder.output_dim, bidirectional=True)
        self.encoder = encoder

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, 2H)."""
        states_BTS: Tensor = self.encoder(embedded_BTE, lengths_B)
        return states_BTS
