"""LSTM in both directions.

    →h_t = LSTM(x_t, →h_{t−1}),   ←h_t = LSTM'(x_t, ←h_{t+1}),   s_t = [→h_t ; ←h_t]

The equations of each LSTM are those of `lstm.py`; the two share no weights. x_t: E features; each direction H;
states s are (B, T, 2H). The backward one starts at the review's last token, never in its padding. With `--layers`,
both directions of the layer above read s. Pooling `last` takes →h_L and ←h_1: the final states of both.

Source: Graves & Schmidhuber 2005, "Framewise phoneme classification with bidirectional LSTM and other neural network
architectures", Neural Networks 18(5–6), section 2.2.
"""

from torch import nn

from pipeline.models.layers.recurrent_classifier import RecurrentClassifier


class BiLSTM(RecurrentClassifier, layer=nn.LSTM, bidirectional=True):
    """LSTM read from both ends. Equations and shapes at the top of the file."""

    year = 2005
    paper = "Graves & Schmidhuber 2005, Framewise phoneme classification with bidirectional LSTM"
    summary = "LSTM read from both ends"
