"""The quasi-recurrent network: a convolution makes candidates and gates, an elementwise pooling over time follows.

    z_t = tanh(Σ_k Z_k x_{t−k} + b_z)    f_t = σ(Σ_k F_k x_{t−k} + b_f)    o_t = σ(Σ_k O_k x_{t−k} + b_o),    k = 0 … w − 1
    c_t = f_t ⊙ c_{t−1} + (1 − f_t) ⊙ z_t,   c_0 = 0,   h_t = o_t ⊙ c_t

x_t: E features of token t, 0 outside the review; all others H features. States are h: (B, T, H). w: `filter_width`, 2 as in
the paper's sentiment experiments. This is the paper's fo-pooling. The forget bias starts at timescales of 1 to 64 tokens,
the paper's at 0.

Source: Bradbury, Merity, Xiong & Socher 2016, "Quasi-recurrent neural networks", arXiv 1611.01576, equations 1 to 4.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from pipeline.models.configs.base import ModelConfig, RecurrentConfig
from pipeline.models.layers.rows import Rows
from pipeline.models.layers.scan import Direction
from pipeline.models.layers.scan_cell import ScanCell, blocks, remember
from pipeline.models.layers.scan_classifier import ScanClassifier
from pipeline.options.option import MODEL, Option


@dataclass(frozen=True, kw_only=True)
class QRNNConfig(RecurrentConfig):
    """`filter_width`: the token itself and those before it (after it, where it is read backward)."""

    filter_width: Annotated[int, Option(panel=MODEL, help="Tokens that a gate sees.", minimum=1, maximum=100)] = 2


class QRNNCell(ScanCell):
    """One layer. Equations and shapes at the top of the file."""

    def __init__(self, input_dim: int, hidden_dim: int, *, bidirectional: bool = False, filter_width: int = 2) -> None:
        super().__init__(input_dim, hidden_dim, bidirectional=bidirectional)
        self.filter_width = filter_width
        ways = 2 if bidirectional else 1
        self.filters = nn.ModuleList(blocks(filter_width * input_dim, hidden_dim, 3) for _ in range(ways))
        """For each direction f, z and o; x_t first, then x_{t−1}, …"""
        for layer in self.filters:
            remember(cast(nn.Linear, layer).bias[:hidden_dim])

    def forward(self, inputs: Tensor, rows: Rows) -> Tensor:
        """The states h (…, S)."""
        ways: tuple[Direction, ...] = ("forward", "backward")
        made = [self._filtered(layer, inputs, rows, way) for layer, way in zip(self.filters, ways, strict=False)]
        forget, candidate, output = (torch.cat(parts, dim=-1) for parts in zip(*made, strict=True))
        cell = rows.average(forget, torch.tanh(candidate), self.direction)
        return torch.sigmoid(output.to(cell.dtype)) * cell

    def _filtered(self, layer: nn.Module, inputs: Tensor, rows: Rows, way: Direction) -> tuple[Tensor, ...]:
        seen = [rows.earlier(inputs, offset, way) for offset in range(self.filter_width)]
        return cast(Tensor, layer(torch.cat(seen, dim=-1))).chunk(3, dim=-1)


class QRNN(ScanClassifier, cell=QRNNCell):
    """Quasi-recurrent network, one direction. Equations and shapes at the top of the file."""

    Config: ClassVar[type[ModelConfig]] = QRNNConfig
    year = 2016
    paper = "Bradbury et al. 2016, Quasi-recurrent neural networks"
    summary = "convolved gates, elementwise recurrence: a scan"

    def cell_options(self, config: RecurrentConfig) -> dict[str, Any]:
        """The width of the filters."""
        assert isinstance(config, QRNNConfig)
        return {"filter_width": config.filter_width}
