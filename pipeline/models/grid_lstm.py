"""Grid LSTM, depth × time: LSTM cells along both dimensions.

At depth l and time t a block takes (h¹, m¹) from the time before and (h², m²) from the depth below:

    H = [h¹; h²],   (h¹', m¹') = LSTM(H, m¹, W¹),   (h²', m²') = LSTM(H, m², W²)
    LSTM(H, m, W):  i = σ(W_i H)  f = σ(W_f H)  o = σ(W_o H)  g = tanh(W_g H);  m' = f ⊙ m + i ⊙ g;  h' = o ⊙ tanh(m')

with biases. h¹', m¹' go on in time, h²', m²' go up. Below the first layer, h² and m² are linear projections of x_t (E
features); before the first token h¹ = m¹ = 0. All vectors have H features; each layer has weights of its own. States
are [h¹'; h²'] of the last layer: (B, T, 2H). With `dimensions` 1 there are cells along time alone: the stacked `lstm`.

Source: Kalchbrenner, Danihelka & Graves 2015, "Grid long short-term memory", ICLR 2016, section 3; the paper's tanh in
h' = tanh(o ⊙ m') is moved inside, as in every LSTM since.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.models.configs.base import ModelConfig
from pipeline.models.configs.grid_lstm import GridLSTMConfig
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.grid import GridLSTMLayer
from pipeline.models.layers.masking import token_mask
from pipeline.models.layers.recurrent import stacked, torch_layer


class GridLSTM(ReviewClassifier):
    """Grid LSTM. Equations and shapes at the top of the file."""

    Config: ClassVar[type[ModelConfig]] = GridLSTMConfig
    is_causal = True
    year = 2015
    paper = "Kalchbrenner, Danihelka & Graves 2015, Grid long short-term memory"
    summary = "LSTM cells along depth and time"

    def __init__(self, config: GridLSTMConfig) -> None:
        width = config.hidden_dim
        super().__init__(config, width * config.dimensions)
        self.encoder = stacked(torch_layer(nn.LSTM), config) if config.dimensions == 1 else None
        if config.dimensions == 2:
            self.projection = nn.Linear(config.input_dim, 2 * width)
            self.grid = nn.ModuleList(GridLSTMLayer(width) for _ in range(config.layers))

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, S), 0 at padding."""
        if self.encoder is not None:
            states_BTS: Tensor = self.encoder(embedded_BTE, lengths_B)
            return states_BTS
        hidden, cell = self.projection(embedded_BTE).chunk(2, dim=-1)
        time = hidden
        for number, layer in enumerate(self.grid):
            time, hidden, cell = layer(self.dropout(hidden) if number else hidden, cell)
        mask_BT1 = token_mask(lengths_B, embedded_BTE.shape[1]).unsqueeze(-1)
        return torch.cat([time, hidden], dim=-1).masked_fill(~mask_BT1, 0.0)
