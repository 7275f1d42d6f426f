"""Where tokenized batches are while they wait for the vocabulary."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.lake.known import Keys


@dataclass(frozen=True, slots=True)
class Place:
    """A batch of a body, which is what one task tokenized."""

    reference: Any
    batch: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a batch that become rows of a shard. `body` is the number of the task's argument."""

    body: int
    batch: int
    row_N: npt.NDArray[np.int32]
    content_N: Keys
