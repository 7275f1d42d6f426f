"""The cells of torch's RNN, GRU and LSTM for inference alone: one direction, one step of many rows at a time.

Two things make them fast on the CPU. tanh(x) = 2σ(2x) − 1: torch's σ is vector code of its own, its tanh is MKL's and
takes ten times as long on AMD's processors. And oneDNN's product with weights that were laid out beforehand, as
Inductor calls it, is twice as fast there as MKL's. A cell keeps ĥ, a linear function of the state h that makes the
factors and summands of the first trick part of the weights; the results are those of torch's layer to rounding.

n rows, E input features, H features of the state, G those of all gates.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.scoring import onednn

ONEDNN_WEIGHTS = 1 << 13
"""A product with fewer weights than this is not worth what it costs to call oneDNN, some 10 µs."""

State = tuple[Tensor, ...]


class Product:
    """y ↦ y Wᵀ + b for a W (features out, features in)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._onednn = weight.numel() >= ONEDNN_WEIGHTS and onednn.refusal() is None
        self._weight = onednn.laid_out(weight) if self._onednn else weight.t().contiguous()
        self._bias = bias

    def __call__(self, values: Tensor) -> Tensor:
        if self._onednn:
            return onednn.linear(values, self._weight, self._bias)
        return torch.addmm(self._bias, values, self._weight)

    def plus(self, other: Tensor, values: Tensor) -> Tensor:
        """`values` Wᵀ + `other`, without the bias."""
        if self._onednn:
            return onednn.linear_plus(values, other, self._weight)
        return torch.addmm(other, values, self._weight)


class Cell(ABC):
    """A layer in one direction. The layer's state is h = `scale` · ĥ + `shift`."""

    scale: ClassVar[float] = 2.0
    shift: ClassVar[float]

    def __init__(self, layer: nn.RNNBase) -> None:
        self.hidden_dim = layer.hidden_size
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        w_GE, u_GH, b_G, c_G = self.scaled(*(layer.get_parameter(name).detach() for name in names))
        self.gates_dim = len(b_G)
        self._input_weights = w_GE, b_G
        self.project = Product(w_GE, b_G)
        """From a token's features to what a step takes: (n, E) to (n, G)."""
        self.recur = Product(u_GH, c_G)

    def project_apart(self, first: int) -> tuple[Product, Product]:
        """`project` as two products, whose results are to be added: of the first features, and of the others."""
        w_GE, b_G = self._input_weights
        return Product(w_GE[:, :first].contiguous(), b_G), Product(w_GE[:, first:].contiguous(), torch.zeros_like(b_G))

    @abstractmethod
    def scaled(self, w_GE: Tensor, u_GH: Tensor, b_G: Tensor, c_G: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The weights of (W x + b, U h + c) such that they are used with ĥ in place of h."""

    def start(self, num_rows: int) -> State:
        """The state before the first token, ĥ first; each part is (rows, H)."""
        return (torch.full((num_rows, self.hidden_dim), -self.shift / self.scale),)

    @abstractmethod
    def step(self, x_nG: Tensor, state: State) -> None:
        """Moves the state in place by one token, whose projection is `x_nG`."""


class RNNCell(Cell):
    """h' = tanh(W x + b + U h + c); with ĥ = (h + 1) / 2: ĥ' = σ(2 (W x + b + U h + c)), U h = 2 U ĥ − U 1."""

    shift = -1.0

    def scaled(self, w_GE: Tensor, u_GH: Tensor, b_G: Tensor, c_G: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return 2 * w_GE, 4 * u_GH, 2 * (b_G + c_G - u_GH.sum(dim=1)), torch.zeros_like(c_G)

    def step(self, x_nG: Tensor, state: State) -> None:
        (h_nH,) = state
        torch.sigmoid(self.recur.plus(x_nG, h_nH), out=h_nH)


class GRUCell(Cell):
    """r, z = σ(…), m = tanh(W_m x + b_m + r ⊙ (U_m h + c_m)), h' = (1 − z) ⊙ m + z ⊙ h, gates in this order.

    With ĥ = (h + 1) / 2 and m̂ = (m + 1) / 2: ĥ' = (1 − z) ⊙ m̂ + z ⊙ ĥ.
    """

    shift = -1.0

    def scaled(self, w_GE: Tensor, u_GH: Tensor, b_G: Tensor, c_G: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        gates = 2 * self.hidden_dim
        factor_G1 = _factors(b_G, gates)
        b_G, c_G = factor_G1[:, 0] * b_G, factor_G1[:, 0] * (c_G - u_GH.sum(dim=1))
        b_G[:gates] += c_G[:gates]
        return factor_G1 * w_GE, 2 * factor_G1 * u_GH, b_G, torch.cat([torch.zeros_like(c_G[:gates]), c_G[gates:]])

    def step(self, x_nG: Tensor, state: State) -> None:
        (h_nH,) = state
        gates = 2 * self.hidden_dim
        u_nG = self.recur(h_nH)
        r_nH, z_nH = u_nG[:, :gates].add_(x_nG[:, :gates]).sigmoid_().chunk(2, dim=1)
        m_nH = torch.addcmul(x_nG[:, gates:], r_nH, u_nG[:, gates:]).sigmoid_()
        torch.lerp(m_nH, h_nH, z_nH, out=h_nH)


class LSTMCell(Cell):
    """c' = f ⊙ c + i ⊙ g, h' = o ⊙ tanh(c') with i, f, o = σ(…), g = tanh(…), gates in the order i, f, g, o.

    With ĥ = h / 2, ĉ = 2 c, ĝ = (g + 1) / 2: ĉ' = f ⊙ ĉ + 4 i ⊙ ĝ − 2 i, ĥ' = o ⊙ σ(ĉ') − o / 2.
    """

    shift = 0.0

    def scaled(self, w_GE: Tensor, u_GH: Tensor, b_G: Tensor, c_G: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        factor_G1 = _factors(b_G, 2 * self.hidden_dim, 3 * self.hidden_dim)
        return factor_G1 * w_GE, 2 * factor_G1 * u_GH, factor_G1[:, 0] * (b_G + c_G), torch.zeros_like(c_G)

    def start(self, num_rows: int) -> State:
        return torch.zeros(num_rows, self.hidden_dim), torch.zeros(num_rows, self.hidden_dim)

    def step(self, x_nG: Tensor, state: State) -> None:
        h_nH, c_nH = state
        i_nH, f_nH, g_nH, o_nH = self.recur.plus(x_nG, h_nH).sigmoid_().chunk(4, dim=1)
        c_nH.mul_(f_nH).addcmul_(i_nH, g_nH, value=4).sub_(i_nH, alpha=2)
        torch.mul(o_nH, torch.sigmoid(c_nH), out=h_nH).sub_(o_nH, alpha=0.5)


CELLS: dict[type[nn.Module], type[Cell]] = {nn.RNN: RNNCell, nn.GRU: GRUCell, nn.LSTM: LSTMCell}


def is_cell(layer: nn.Module) -> bool:
    """Whether a cell here computes the layer: one of torch's in its plain form, one layer in one direction."""
    if type(layer) not in CELLS:
        return False
    assert isinstance(layer, nn.RNNBase)
    plain = layer.num_layers == 1 and layer.bias and not layer.bidirectional and not layer.proj_size
    return plain and getattr(layer, "nonlinearity", "tanh") == "tanh"


def _factors(like_G: Tensor, begin: int, end: int | None = None) -> Tensor:
    """2 for the gates whose tanh is taken, 1 for those whose σ is: (G, 1)."""
    factor_G = torch.ones_like(like_G)
    factor_G[begin:end] = 2
    return factor_G.unsqueeze(1)
