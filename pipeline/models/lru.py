"""The linear recurrent unit: a stable complex diagonal recurrence, then a gated linear unit with a skip connection.

    v_t = P u_t + p        x_t = λ ⊙ x_{t−1} + γ ⊙ (B v_t),   x_0 = 0        y_t = Re(C x_t) + D ⊙ v_t
    λ = exp(−exp(ν) + i exp(θ)), |λ| < 1        g_t = gelu(y_t)        s_t = v_t + (W_1 g_t + b_1) ⊙ σ(W_2 g_t + b_2)

u_t: E features of token t; v, y, s: H features; x_t, λ: H complex ones; γ = exp(γ_log) > 0, √(1 − |λ|²) at the start, which
keeps the scale of x. States are s: (B, T, H). |λ|² starts uniform between `radius_min`² and `radius_max`², the phase of λ
between 0 and `phase_max`. The paper normalises v over the batch first, which would tie reviews to each other.

Source: Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences", ICML, arXiv 2303.06349, section 3
(λ: 3.3; γ: 3.4; initialisation: lemma 3.2), the block: figure 1.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, glu, linear

from pipeline.errors import UsageError
from pipeline.models.configs.base import ModelConfig, RecurrentConfig
from pipeline.models.layers.rows import Rows
from pipeline.models.layers.scan import Direction
from pipeline.models.layers.scan_cell import ScanCell, blocks
from pipeline.models.layers.scan_classifier import ScanClassifier
from pipeline.options.option import MODEL, Option

Radius = Annotated[float, Option(panel=MODEL, help="Bound of |λ| at the start.", minimum=0, below=1)]


@dataclass(frozen=True, kw_only=True)
class LRUConfig(RecurrentConfig):
    """Where the eigenvalues λ start.

    Raises:
        UsageError: `radius_min` is not below `radius_max`.
    """

    radius_min: Radius = 0.4
    radius_max: Radius = 0.99
    phase_max: Annotated[
        float, Option(panel=MODEL, help="Largest phase of λ at the start, in radians.", above=0, maximum=7)
    ] = math.pi / 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius_min >= self.radius_max:
            raise UsageError(
                f"--set radius_min={self.radius_min}: expected less than radius_max, {self.radius_max}. "
                "Lower it, or raise radius_max."
            )


class LRUDirection(nn.Module):
    """One direction of a layer. Equations and shapes at the top of the file."""

    def __init__(self, input_dim: int, hidden_dim: int, radius_min: float, radius_max: float, phase_max: float) -> None:
        super().__init__()
        squared = torch.empty(hidden_dim).uniform_(radius_min**2, radius_max**2).clamp_(1e-6, 1 - 1e-6)
        self.nu = nn.Parameter((-0.5 * squared.log()).log())
        self.theta = nn.Parameter(torch.empty(hidden_dim).uniform_(1e-3, 1).mul_(phase_max).log())
        self.gamma = nn.Parameter(0.5 * (1 - squared).log())
        """The logarithm of γ."""
        self.encoder = blocks(input_dim, hidden_dim, 1)
        self.input = nn.Parameter(torch.empty(hidden_dim, 2, hidden_dim).normal_(std=math.sqrt(0.5 / hidden_dim)))
        """B: for each complex unit the real row, then the imaginary one."""
        self.output = nn.Parameter(torch.empty(hidden_dim, hidden_dim, 2).normal_(std=math.sqrt(1 / hidden_dim)))
        """C, conjugated: its real and imaginary parts for each complex unit."""
        self.skip = nn.Parameter(torch.empty(hidden_dim).normal_())
        self.mixer = blocks(hidden_dim, hidden_dim, 2)

    def forward(self, inputs: Tensor, rows: Rows, way: Direction) -> Tensor:
        """The states s (…, H)."""
        values: Tensor = self.encoder(inputs)
        driven = linear(values, (self.input * self.gamma.exp()[:, None, None]).flatten(0, 1))
        pairs = driven.to(self.nu.dtype).view(*driven.shape[:-1], -1, 2)
        states = rows.scan(torch.polar((-self.nu.exp()).exp(), self.theta.exp()), torch.view_as_complex(pairs), way)
        # Re(C x) = Re C · Re x − Im C · Im x: with the conjugate of C, a real product.
        outputs = linear(torch.view_as_real(states).flatten(-2), self.output.flatten(1)) + self.skip * values
        return values + glu(self.mixer(gelu(outputs)), dim=-1)


class LRUCell(ScanCell):
    """One layer: each direction by itself."""

    def __init__(self, input_dim: int, hidden_dim: int, *, bidirectional: bool = False, **start: float) -> None:
        super().__init__(input_dim, hidden_dim, bidirectional=bidirectional)
        ways = 2 if bidirectional else 1
        self.ways = nn.ModuleList(LRUDirection(input_dim, hidden_dim, **start) for _ in range(ways))

    def forward(self, inputs: Tensor, rows: Rows) -> Tensor:
        """The states s (…, S)."""
        directions: tuple[Direction, ...] = ("forward", "backward")
        return torch.cat([way(inputs, rows, name) for way, name in zip(self.ways, directions, strict=False)], dim=-1)


class LRU(ScanClassifier, cell=LRUCell):
    """Linear recurrent unit, one direction. Equations and shapes at the top of the file."""

    Config: ClassVar[type[ModelConfig]] = LRUConfig
    year = 2023
    paper = "Orvieto et al. 2023, Resurrecting recurrent neural networks for long sequences"
    summary = "stable complex diagonal recurrence: a scan"

    def cell_options(self, config: RecurrentConfig) -> dict[str, Any]:
        """Where the eigenvalues start."""
        assert isinstance(config, LRUConfig)
        return {"radius_min": config.radius_min, "radius_max": config.radius_max, "phase_max": config.phase_max}
