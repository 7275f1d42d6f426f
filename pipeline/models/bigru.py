"""Gated recurrent units in both directions.

    →h_t = GRU(x_t, →h_{t−1}),   ←h_t = GRU'(x_t, ←h_{t+1}),   s_t = [→h_t ; ←h_t]

The equations of each GRU are those of `gru.py`; the two share no weights. x_t: E features; each direction H; states s
are (B, T, 2H). Pooling `last` takes →h_L and ←h_1. The book's deep one is `--layers 2 --dropout 0.8`.

Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", EMNLP, equations 5 to 8; both directions: Schuster & Paliwal 1997.
"""

from torch import nn

from pipeline.models.layers.recurrent_classifier import RecurrentClassifier


class BiGRU(RecurrentClassifier, layer=nn.GRU, bidirectional=True):
    """Gated recurrent units read from both ends. Equations and shapes at the top of the file."""

    year = 2014
    paper = "Cho et al. 2014, Learning phrase representations using RNN encoder-decoder"
    summary = "gated recurrent units read from both ends"
