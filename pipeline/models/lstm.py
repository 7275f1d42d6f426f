"""Long short-term memory, with a forget gate.

    i_t = σ(W_i x_t + U_i h_{t−1} + b_i)        f_t = σ(W_f x_t + U_f h_{t−1} + b_f)
    g_t = tanh(W_g x_t + U_g h_{t−1} + b_g)     o_t = σ(W_o x_t + U_o h_{t−1} + b_o)
    c_t = f_t ⊙ c_{t−1} + i_t ⊙ g_t             h_t = o_t ⊙ tanh(c_t)

x_t: E features of token t; gates, c_t, h_t: H features; h_0 = c_0 = 0. States are h: (B, T, H). With `--layers`, the
layer above reads h of the one below. `nn.LSTM` does the work (oneDNN on the CPU, cuDNN on the GPU).

Source: Hochreiter & Schmidhuber 1997, "Long short-term memory", Neural Computation 9(8); forget gate: Gers,
Schmidhuber & Cummins 2000, "Learning to forget", Neural Computation 12(10), equations 3 and 4.
"""

from torch import nn

from pipeline.models.layers.recurrent_classifier import RecurrentClassifier


class LSTM(RecurrentClassifier, layer=nn.LSTM):
    """LSTM with forget gates, one direction. Equations and shapes at the top of the file."""

    year = 1997
    paper = "Hochreiter & Schmidhuber 1997, Long short-term memory; Gers et al. 2000, Learning to forget"
    summary = "LSTM with forget gates, one direction"
