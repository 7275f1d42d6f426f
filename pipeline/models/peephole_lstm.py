"""LSTM whose gates look at the cell through peepholes.

    i_t = σ(W_i x_t + U_i h_{t−1} + p_i ⊙ c_{t−1} + b_i)    f_t = σ(W_f x_t + U_f h_{t−1} + p_f ⊙ c_{t−1} + b_f)
    g_t = tanh(W_g x_t + U_g h_{t−1} + b_g)                 c_t = f_t ⊙ c_{t−1} + i_t ⊙ g_t
    o_t = σ(W_o x_t + U_o h_{t−1} + p_o ⊙ c_t + b_o)        h_t = o_t ⊙ tanh(c_t)

x_t: E features of token t; gates, p, c_t, h_t: H features; h_0 = c_0 = 0. States are h: (B, T, H). The output gate
sees the new cell. With p = 0 this is `lstm`. Both of the paper's squashing functions are tanh here.

Source: Gers & Schmidhuber 2000, "Recurrent nets that time and count", IJCNN, section 2.
"""

from pipeline.models.layers.peephole import PeepholeLSTM
from pipeline.models.layers.recurrent_classifier import RecurrentClassifier


class PeepholeLSTMClassifier(RecurrentClassifier, layer=PeepholeLSTM):
    """LSTM with peepholes, one direction. Equations and shapes at the top of the file."""

    year = 2000
    paper = "Gers & Schmidhuber 2000, Recurrent nets that time and count"
    summary = "LSTM whose gates see the cell"
