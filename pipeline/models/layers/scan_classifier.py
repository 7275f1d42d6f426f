"""The classifier that is a stack of scan cells: a new recurrence of this family is one file with a cell."""

from typing import Any, ClassVar

from torch import Tensor, nn

from pipeline.models.configs.base import ModelConfig, RecurrentConfig
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.dropout import Dropout
from pipeline.models.layers.rows import PaddedRows, Rows
from pipeline.models.layers.scan_cell import MakeCell, called


class ScanStack(nn.Module):
    """Layers of cells with dropout between them."""

    def __init__(self, make_cell: MakeCell, config: RecurrentConfig, *, bidirectional: bool, **options: Any) -> None:
        super().__init__()
        cells, input_dim = [], config.input_dim
        for _ in range(config.layers):
            cells.append(make_cell(input_dim, config.hidden_dim, bidirectional=bidirectional, **options))
            input_dim = cells[-1].output_dim
        self.cells = nn.ModuleList(cells)
        self.dropout = Dropout(config.dropout)
        self.output_dim = input_dim

    def forward(self, inputs: Tensor, rows: Rows) -> Tensor:
        """The last layer's states (…, S) of the inputs (…, E)."""
        for number, cell in enumerate(self.cells):
            inputs = called(cell, self.dropout(inputs) if number else inputs, rows)
        return inputs


class ScanClassifier(ReviewClassifier):
    """Scan cells in one or both directions. An architecture names its cell when it derives:

        class BiMinGRU(ScanClassifier, cell=MinGRUCell, bidirectional=True): ...

    It is scored without padding on the CPU (`pipeline/scoring/packed_scan.py`).
    """

    Config: ClassVar[type[ModelConfig]] = RecurrentConfig
    is_causal = True
    encoder: ScanStack
    _cell: ClassVar[tuple[MakeCell]]
    _bidirectional: ClassVar[bool]

    def __init_subclass__(cls, *, cell: MakeCell | None = None, bidirectional: bool = False) -> None:
        """`cell`: a class derived from `ScanCell`; without it, a class inherits its parent's."""
        super().__init_subclass__()
        if cell is not None:
            cls._cell, cls._bidirectional = (cell,), bidirectional

    def __init__(self, config: RecurrentConfig) -> None:
        encoder = ScanStack(self._cell[0], config, bidirectional=self._bidirectional, **self.cell_options(config))
        super().__init__(config, encoder.output_dim, bidirectional=self._bidirectional)
        self.encoder = encoder

    def cell_options(self, config: RecurrentConfig) -> dict[str, Any]:
        """What the cell is made with, beside its sizes."""
        return {}

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, S), those of both directions side by side."""
        states_TBS: Tensor = self.encoder(embedded_BTE.transpose(0, 1), PaddedRows(lengths_B))
        return states_TBS.transpose(0, 1)
