"""A layer of LSTM cells with peepholes. B rows, T positions, E features in, H hidden features."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class PeepholeLSTM(nn.Module):
    """One layer in one direction; equations in `pipeline/models/peephole_lstm.py`.

    Weights are laid out as in `nn.LSTM` (gates in the order i, f, g, o), so that with `peephole` at zero and the same
    `weight_ih`, `weight_hh` and bias it is `nn.LSTM`. The products with x are made for all T at once; a step is one
    product with h and a handful of elementwise operations.
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_dim, input_dim))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_dim, hidden_dim))
        self.bias = nn.Parameter(torch.zeros(4 * hidden_dim))
        self.peephole = nn.Parameter(torch.empty(3, hidden_dim))
        """Peepholes of i, f (which see c_{t−1}) and o (which sees c_t)."""
        with torch.no_grad():
            for gate in torch.split(self.weight_ih, hidden_dim):
                nn.init.xavier_uniform_(gate)
            for gate in torch.split(self.weight_hh, hidden_dim):
                nn.init.orthogonal_(gate)
            self.bias[hidden_dim : 2 * hidden_dim] = 1.0
            nn.init.uniform_(self.peephole, -1 / math.sqrt(hidden_dim), 1 / math.sqrt(hidden_dim))

    def forward(self, inputs_BTE: Tensor) -> tuple[Tensor, Tensor]:
        """Returns h of all positions (B, T, H) and c of the last one (B, H)."""
        width = self.hidden_dim
        projected_TBG = linear(inputs_BTE.transpose(0, 1), self.weight_ih, self.bias)
        recurrence_HG = self.weight_hh.t()
        peephole_12H, peephole_H = self.peephole[:2].unsqueeze(0), self.peephole[2]
        hidden_BH = cell_BH = projected_TBG.new_zeros(projected_TBG.shape[1], width)
        states = []
        for projected_BG in projected_TBG.unbind(0):
            gates_BG = torch.addmm(projected_BG, hidden_BH, recurrence_HG)
            both_B2H = gates_BG[:, : 2 * width].view(-1, 2, width)
            input_BH, forget_BH = torch.sigmoid(torch.addcmul(both_B2H, peephole_12H, cell_BH.unsqueeze(1))).unbind(1)
            cell_BH = torch.addcmul(forget_BH * cell_BH, input_BH, torch.tanh(gates_BG[:, 2 * width : 3 * width]))
            output_BH = torch.sigmoid(torch.addcmul(gates_BG[:, 3 * width :], peephole_H, cell_BH))
            hidden_BH = output_BH * torch.tanh(cell_BH)
            states.append(hidden_BH)
        return torch.stack(states, dim=1), cell_BH
