"""A layer of a two-dimensional grid LSTM (depth × time). B rows, T positions, H features."""

import torch
from torch import Tensor, nn

from pipeline.models.layers.recurrent import initialise


class GridLSTMLayer(nn.Module):
    """The blocks at one depth, at all times; equations in `pipeline/models/grid_lstm.py`.

    The time dimension's LSTM reads h¹ of the block before and h² from below, so at one depth it is an ordinary LSTM
    over h², for which `nn.LSTM` does. The depth dimension's LSTM then needs nothing sequential: all T at once.
    """

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.time = nn.LSTM(hidden_dim, hidden_dim, batch_first=True)
        initialise(self.time)
        self.depth = nn.Linear(2 * hidden_dim, 4 * hidden_dim)
        """From [h¹; h²] to the gates i, f, g, o of the depth dimension."""
        with torch.no_grad():
            for gate in torch.split(self.depth.weight, hidden_dim):
                nn.init.xavier_uniform_(gate)
            self.depth.bias.zero_()
            self.depth.bias[hidden_dim : 2 * hidden_dim] = 1.0

    def forward(self, hidden_BTH: Tensor, cell_BTH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From h² and m² of the layer below to (h¹ of the time dimension, h², m² of the depth dimension), all (B, T, H)."""
        time_BTH: Tensor = self.time(hidden_BTH)[0]
        before_BTH = torch.cat([torch.zeros_like(time_BTH[:, :1]), time_BTH[:, :-1]], dim=1)
        gates = self.depth(torch.cat([before_BTH, hidden_BTH.to(before_BTH.dtype)], dim=-1)).chunk(4, dim=-1)
        cell_BTH = torch.sigmoid(gates[1]) * cell_BTH + torch.sigmoid(gates[0]) * torch.tanh(gates[2])
        return time_BTH, torch.sigmoid(gates[3]) * torch.tanh(cell_BTH), cell_BTH
