"""Tokenized batches stored on disk between the two passes of ingest, as an Arrow IPC stream."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import pyarrow as pa
from torchdata.nodes import BaseNode

from pipeline.datapipes.tokenize_reviews import ROW_SCHEMA
from pipeline.lake.atomic import writing

SPILL_SCHEMA = ROW_SCHEMA.append(pa.field("tokens", pa.list_(pa.field("item", pa.dictionary(pa.int32(), pa.string())))))


class SpillWriter:
    """Appends batches to a spill file. Each batch has its own dictionary of tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.batches = 0
        with writing(path):
            self._writer = pa.ipc.new_stream(path, SPILL_SCHEMA)

    def __enter__(self) -> "SpillWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with writing(self.path) if error is None else suppress(OSError):
            self._writer.close()

    def write(self, rows: pa.RecordBatch, tokens: pa.ListArray) -> None:
        """Writes (N,) rows and their token lists.

        Raises:
            CannotWriteError: for example, the disk is full.
        """
        with writing(self.path):
            self._writer.write_batch(pa.RecordBatch.from_arrays([*rows.columns, tokens], schema=SPILL_SCHEMA))
        self.batches += 1


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
        while initial_state and self._batch < initial_state[self.BATCH]:
            self.next()

    def next(self) -> pa.RecordBatch:
        """The next batch, under `SPILL_SCHEMA`."""
        while True:
            batch = self._reader.read_next_batch()
            self._batch += 1
            if not any(first < self._batch <= end for first, end in self.dropped):
                return batch

    def get_state(self) -> dict[str, Any]:
        """A new dictionary."""
        return {self.BATCH: self._batch}
