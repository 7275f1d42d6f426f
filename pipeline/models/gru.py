"""Gated recurrent unit.

    r_t = σ(W_r x_t + b_r + U_r h_{t−1} + b'_r)         z_t = σ(W_z x_t + b_z + U_z h_{t−1} + b'_z)
    n_t = tanh(W_n x_t + b_n + r_t ⊙ (U_n h_{t−1} + b'_n))
    h_t = (1 − z_t) ⊙ n_t + z_t ⊙ h_{t−1},   h_0 = 0

x_t: E features of token t; gates and h_t: H features. States are h: (B, T, H). The reset gate acts after the
recurrent product, as in `nn.GRU`, which does the work; the paper's acts before it (U_n (r_t ⊙ h_{t−1})).

Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", EMNLP, equations 5 to 8.
"""

from torch import nn

from pipeline.models.layers.recurrent_classifier import RecurrentClassifier


class GRU(RecurrentClassifier, layer=nn.GRU):
    """Gated recurrent unit, one direction. Equations and shapes at the top of the file."""

    year = 2014
    paper = "Cho et al. 2014, Learning phrase representations using RNN encoder-decoder"
    summary = "gated recurrent unit, one direction"
