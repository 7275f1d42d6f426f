"""Gathers encoded batches into windows of scoring; within a window, reviews are sorted by length."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.datapipes.score_encode import Encoded, Reasons
from pipeline.readers.base import FileFault
from schemas.bad_row import BadRow


@dataclass(frozen=True, eq=False)
class Window:
    """Consecutive rows of the input: their kept columns in `batches`; the other fields as in `Encoded`."""

    batches: tuple[pa.RecordBatch, ...]
    reason: Reasons
    length_N: npt.NDArray[np.int32]
    unknown_N: npt.NDArray[np.int32]
    ids: pa.ListArray | None
    probability_NC: npt.NDArray[np.float32] | None
    bad: tuple[BadRow, ...]
    faults: tuple[FileFault, ...]

    def __len__(self) -> int:
        return len(self.reason)


def windows(encoded: Iterator[Encoded], first_rows: int, max_rows: int, max_bytes: int) -> Iterator[Window]:
    """Gathers whole batches until a window has enough rows or `max_bytes` bytes.

    The first window has `first_rows` rows, and each next one twice as many, up to `max_rows`: the model starts early, and
    sorting soon has many reviews.
    """
    most = first_rows
    parts: list[Encoded] = []
    rows = size = 0
    for part in encoded:
        parts.append(part)
        rows += len(part.reason)
        size += part.num_bytes
        if rows >= most or size >= max_bytes:
            yield _window(parts)
            most = min(2 * most, max_rows)
            parts, rows, size = [], 0, 0
    if parts:
        yield _window(parts)


def _window(parts: list[Encoded]) -> Window:
    ids = [part.ids for part in parts if part.ids is not None]
    probabilities = [part.probability_NC for part in parts if part.probability_NC is not None]
    return Window(
        batches=tuple(part.kept for part in parts),
        reason=np.concatenate([part.reason for part in parts]),
        length_N=np.concatenate([part.length_N for part in parts]),
        unknown_N=np.concatenate([part.unknown_N for part in parts]),
        ids=pa.concat_arrays(ids) if ids else None,
        probability_NC=np.concatenate(probabilities) if probabilities else None,
        bad=tuple(row for part in parts for row in part.bad),
        faults=tuple(fault for part in parts for fault in part.faults),
    )
