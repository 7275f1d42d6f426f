"""Reads what `SpillWriter` has written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from torchdata.nodes import BaseNode

from pipeline.datapipes.spill import TOKENS, WIDE, Release


class SpilledBatches(BaseNode[pa.RecordBatch]):
    """Yields the batches of a spill file in order, except those in the `dropped` ranges (first, end).

    The state is the number of batches read.
    """

    BATCH: ClassVar[str] = "batch"

    def __init__(self, path: Path, dropped: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__()
        self.path = path
        self.dropped = dropped

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        """Starts at the beginning, or after as many batches as the state says."""
        super().reset(initial_state)
        # OSFile, not a name, which would be memory-mapped: what was read would count as the process's memory until the end.
        self._reader = pa.ipc.open_stream(pa.OSFile(str(self.path)))
        self._batch = 0
        self._release = Release()
        while initial_state and self._batch < initial_state[self.BATCH]:
            self.next()

    def next(self) -> pa.RecordBatch:
        """The next batch, its tokens in the column `TOKENS`."""
        while True:
            batch = self._reader.read_next_batch()
            self._batch += 1
            self._release.after(batch)
            if not any(first < self._batch <= end for first, end in self.dropped):
                return _with_tokens(batch)

    def get_state(self) -> dict[str, Any]:
        """A new dictionary."""
        return {self.BATCH: self._batch}


def _with_tokens(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without the column of token lists that it does not use; others as they are."""
    if WIDE not in batch.schema.names:
        return batch
    wide = batch[WIDE]
    batch = batch.drop_columns(WIDE)
    return batch if wide.null_count == len(wide) else batch.set_column(batch.schema.get_field_index(TOKENS), TOKENS, wide)
