"""Elman's recurrent network in both directions.

    →h_t = tanh(W x_t + U →h_{t−1} + b),   ←h_t = tanh(W' x_t + U' ←h_{t+1} + b'),   s_t = [→h_t ; ←h_t]

x_t: E features of token t; each direction H; states s are (B, T, 2H). The backward one starts at the review's last
token. Pooling `last` takes →h_L and ←h_1: the final states of both.

Source: Schuster & Paliwal 1997, "Bidirectional recurrent neural networks", IEEE Transactions on Signal Processing
45(11), section II.B.
"""

from torch import nn

from pipeline.models.layers.recurrent_classifier import RecurrentClassifier


class BiRNN(RecurrentClassifier, layer=nn.RNN, bidirectional=True):
    """Elman RNN read from both ends. Equations and shapes at the top of the file."""

    year = 1997
    paper = "Schuster & Paliwal 1997, Bidirectional recurrent neural networks"
    summary = "Elman RNN read from both ends"
