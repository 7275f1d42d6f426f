"""Recurrent layers whose recurrence keeps norms: the unitary RNN's and the gated orthogonal one's.

B rows, T positions, E features in, N hidden units. Both run without autocast: in bfloat16 the recurrence matrix would
be orthogonal to two digits only, and the memory gone after a hundred steps.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pipeline.models.layers.orthogonal import RotationMatrix, UnitaryMatrix, modrelu, real_modrelu


class UnitaryRNN(nn.Module):
    """One layer in one direction; equations in `pipeline/models/unitary_rnn.py`. N complex units, 2N real features."""

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.recurrence = UnitaryMatrix(hidden_dim)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_dim, input_dim))
        """V: the rows of its real part, then those of the imaginary part."""
        self.bias = nn.Parameter(torch.zeros(hidden_dim))
        bound = math.sqrt(3 / (2 * hidden_dim))
        self.start = nn.Parameter(torch.empty(2 * hidden_dim).uniform_(-bound, bound))
        nn.init.xavier_uniform_(self.weight_ih)

    def forward(self, inputs_BTE: Tensor) -> tuple[Tensor, None]:
        """Returns the states (B, T, 2N): real parts, then imaginary parts."""
        with torch.autocast(inputs_BTE.device.type, enabled=False):
            projected_TBS = linear(inputs_BTE.to(self.weight_ih.dtype).transpose(0, 1), self.weight_ih)
            recurrence_SS = self.recurrence()
            state_BS = self.start.expand(projected_TBS.shape[1], -1)
            states = []
            for projected_BS in projected_TBS.unbind(0):
                moved_BS = torch.addmm(projected_BS, state_BS, recurrence_SS)
                state_BS = modrelu(moved_BS.view(-1, 2, self.hidden_dim), self.bias).flatten(1)
                states.append(state_BS)
            return torch.stack(states, dim=1), None


class GORU(nn.Module):
    """One layer of gated orthogonal recurrent units in one direction; equations in `pipeline/models/goru.py`."""

    def __init__(self, input_dim: int, hidden_dim: int, num_factors: int) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.recurrence = RotationMatrix(hidden_dim, num_factors)
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_dim, input_dim))
        """Input weights of the candidate, of r and of z."""
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_dim, hidden_dim))
        """Recurrent weights of r and z."""
        self.gate_bias = nn.Parameter(torch.zeros(2 * hidden_dim))
        self.bias = nn.Parameter(torch.zeros(hidden_dim))
        """The modReLU's."""
        for weight in (self.weight_ih, self.weight_hh):
            for gate in torch.split(weight.detach(), hidden_dim):
                nn.init.xavier_uniform_(gate)

    def forward(self, inputs_BTE: Tensor) -> tuple[Tensor, None]:
        """Returns the states (B, T, N)."""
        width = self.hidden_dim
        with torch.autocast(inputs_BTE.device.type, enabled=False):
            bias = torch.cat([torch.zeros_like(self.bias), self.gate_bias])
            projected_TBG = linear(inputs_BTE.to(self.weight_ih.dtype).transpose(0, 1), self.weight_ih, bias)
            recurrence_NG = torch.cat([self.recurrence(), self.weight_hh.t()], dim=1)
            state_BN = projected_TBG.new_zeros(projected_TBG.shape[1], width)
            states = []
            for projected_BG in projected_TBG.unbind(0):
                moved_BG = state_BN @ recurrence_NG
                gates_BG = torch.sigmoid(projected_BG[:, width:] + moved_BG[:, width:])
                reset_BN, keep_BN = gates_BG[:, :width], gates_BG[:, width:]
                candidate_BN = real_modrelu(torch.addcmul(projected_BG[:, :width], reset_BN, moved_BG[:, :width]), self.bias)
                state_BN = torch.lerp(candidate_BN, state_BN, keep_BN)
                states.append(state_BN)
            return torch.stack(states, dim=1), None
