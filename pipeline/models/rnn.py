"""Elman's recurrent network.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh),   h_0 = 0

x_t: E features of token t; h_t: H features. Pooling reads h_1 … h_L of a review of L tokens; states are (B, T, H).

Source: Elman 1990, "Finding structure in time", Cognitive Science 14(2), section "Recurrent networks"; tanh in place
of the logistic function, as in torch's `nn.RNN`, which does the work.
"""

from torch import nn

from pipeline.models.layers.recurrent_classifier import RecurrentClassifier


class RNN(RecurrentClassifier, layer=nn.RNN):
    """Elman RNN: one tanh layer that feeds back into itself. Equations and shapes at the top of the file."""

    year = 1990
    paper = "Elman 1990, Finding structure in time"
    summary = "Elman RNN: one tanh layer that feeds back into itself"
