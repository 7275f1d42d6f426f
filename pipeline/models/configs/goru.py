"""The options of `--arch goru`."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.models.configs.base import MOST_FEATURES, RecurrentConfig
from pipeline.options.option import MODEL, Option


@dataclass(frozen=True, kw_only=True)
class GORUConfig(RecurrentConfig):
    """`rotations`: number of factors of the orthogonal matrix; 2 log₂(hidden_dim) or more mix all units freely."""

    hidden_dim: Annotated[int, Option(panel=MODEL, help="Hidden size.", minimum=2, maximum=MOST_FEATURES)] = 128
    rotations: Annotated[int, Option(panel=MODEL, help="Number of factors of the orthogonal matrix.", minimum=1)] = 16
