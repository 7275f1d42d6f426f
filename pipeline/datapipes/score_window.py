"""Node of scoring that gathers encoded batches into windows; within a window, reviews are sorted by length."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from torchdata.nodes import BaseNode

from pipeline.datapipes.score_encode import Encoded, Reasons
from pipeline.readers.base import FileFault
from schemas.bad_row import BadRow


@dataclass(frozen=True, eq=False)
class Window:
    """Consecutive rows of the input: their kept columns in `batches`; the other fields as in `Encoded`."""

    batches: tuple[pa.RecordBatch, ...]
    ids: pa.ListArray
    reason: Reasons
    bad: tuple[BadRow, ...]
    faults: tuple[FileFault, ...]

    def __len__(self) -> int:
        return len(self.ids)


class Windows(BaseNode[Window]):
    """Gathers whole batches until a window has enough rows or `max_bytes` bytes.

    The first window has `first_rows` rows, and each next one twice as many, up to `max_rows`: the model starts early, and
    sorting soon has many reviews.
    """

    SOURCE_KEY, ROWS_KEY = "source", "rows"

    def __init__(self, source: BaseNode[Encoded], first_rows: int, max_rows: int, max_bytes: int) -> None:
        super().__init__()
        self.source = source
        self.first_rows = first_rows
        self.max_rows = max_rows
        self.max_bytes = max_bytes

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        """Starts at the beginning, or after the window at which `initial_state` was taken."""
        super().reset(initial_state)
        self.source.reset(None if initial_state is None else initial_state[self.SOURCE_KEY])
        self._rows = self.first_rows if initial_state is None else initial_state[self.ROWS_KEY]

    def next(self) -> Window:
        parts: list[Encoded] = []
        rows = size = 0
        while rows < self._rows and size < self.max_bytes:
            try:
                part = next(self.source)
            except StopIteration:
                break
            parts.append(part)
            rows += len(part.ids)
            size += part.nbytes
        if not parts:
            raise StopIteration
        self._rows = min(2 * self._rows, self.max_rows)
        return Window(
            batches=tuple(part.kept for part in parts),
            ids=pa.concat_arrays([part.ids for part in parts]),
            reason=np.concatenate([part.reason for part in parts]),
            bad=tuple(row for part in parts for row in part.bad),
            faults=tuple(fault for part in parts for fault in part.faults),
        )

    def get_state(self) -> dict[str, Any]:
        return {self.SOURCE_KEY: self.source.state_dict(), self.ROWS_KEY: self._rows}
