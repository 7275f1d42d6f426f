"""The plan of what becomes of rows whose tokens are elsewhere: spilled and cut in place of the tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.datapipes.spill import SpillWriter
from pipeline.datapipes.tokens_elsewhere import TokensElsewhere
from pipeline.engines.on_ray.places import Piece
from pipeline.lake.known import Keys

PLAN_SCHEMA = pa.schema(
    [
        pa.field("split", pa.string()),
        pa.field("ids", pa.list_(pa.null())),
        pa.field("body", pa.int32()),
        pa.field("batch", pa.int32()),
        pa.field("row", pa.int32()),
        pa.field("content", pa.uint64()),
    ]
)
"""A row on its way into a shard, without its tokens: `ids` has as many nulls, which take no memory. `content` is the first
64 bits of its content hash."""


class PlanWriter(SpillWriter):
    """Writes the plan in place of the tokens, which stay where they are.

    With it, the batches are cut into shards by the node that cuts real ones, since that looks at splits and lengths alone.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, PLAN_SCHEMA)
        self.bodies: list[Any] = []
        """References; the plan has their numbers."""

    def write(self, rows: pa.RecordBatch, tokens: pa.ListArray | TokensElsewhere) -> None:
        """Writes (N,) rows; raises `CannotWriteError`."""
        assert isinstance(tokens, TokensElsewhere)
        if not self.bodies or self.bodies[-1] != tokens.place.reference:
            self.bodies.append(tokens.place.reference)
        count = len(rows)
        offsets = np.zeros(count + 1, np.int32)
        np.cumsum(tokens.length_N, out=offsets[1:])
        columns = [
            rows["split"],
            pa.ListArray.from_arrays(pa.array(offsets), pa.nulls(int(offsets[-1]))),
            np.full(count, len(self.bodies) - 1, np.int32),
            np.full(count, tokens.place.batch, np.int32),
            tokens.row_N,
            tokens.contents,
        ]
        arrays = [pa.array(column) if isinstance(column, np.ndarray) else column for column in columns]
        self.append(pa.RecordBatch.from_arrays(arrays, schema=PLAN_SCHEMA))


def pieces_of(rows: pa.Table) -> tuple[list[int], list[Piece]]:
    """The bodies that a shard takes rows of, by their numbers in the plan, and the rows in order.

    Args:
        rows: of a shard, under `PLAN_SCHEMA`.
    """
    bodies: list[int] = []
    pieces = []
    for body, batch, row_N, content_N in _runs(rows):
        if not bodies or bodies[-1] != body:
            bodies.append(body)
        pieces.append(Piece(len(bodies) - 1, batch, row_N, content_N))
    return bodies, pieces


def _runs(rows: pa.Table) -> Iterator[tuple[int, int, npt.NDArray[np.int32], Keys]]:
    body, batch, row, content = (rows[name].to_numpy() for name in ("body", "batch", "row", "content"))
    changes = np.flatnonzero((np.diff(body) != 0) | (np.diff(batch) != 0)) + 1
    for begin, end in zip([0, *changes.tolist()], [*changes.tolist(), len(rows)], strict=True):
        if end > begin:
            yield int(body[begin]), int(batch[begin]), row[begin:end], content[begin:end]
