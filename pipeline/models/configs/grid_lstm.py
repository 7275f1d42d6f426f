"""The options of `--arch grid-lstm`."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.models.configs.base import Layers, RecurrentConfig
from pipeline.options.option import MODEL, Option


@dataclass(frozen=True, kw_only=True)
class GridLSTMConfig(RecurrentConfig):
    """`layers` is the depth of the grid; `dimensions` is 2 (depth × time) or 1 (time)."""

    layers: Layers = 2
    dimensions: Annotated[
        int, Option(panel=MODEL, help="Grid dimensions: 2 (depth × time) or 1 (time only).", choices=(1, 2))
    ] = 2
