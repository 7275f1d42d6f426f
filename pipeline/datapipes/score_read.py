"""Source node of scoring: reads Parquet files as record batches, in order, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torchdata.nodes import BaseNode

from pipeline.scoring.inputs import BUFFER_BYTES, readable


class ParquetReader(BaseNode[pa.RecordBatch]):
    """Yields the record batches of each file's row groups.

    `ParquetFile.iter_batches` and not `pyarrow.dataset`, whose read-ahead grows with the input (arrow #39808).
    State: file, row group and batch within it; a restart skips to the row group and decodes from there.

    Args:
        batch_rows: rows of a batch, at most.

    Raises from `next`:
        DataError: a file is damaged.
        InputNotFoundError: a file is gone.
    """

    FILE_KEY, ROW_GROUP_KEY, BATCH_KEY = "file", "row_group", "batch"

    def __init__(self, files: tuple[Path, ...], columns: list[str], batch_rows: int) -> None:
        super().__init__()
        self.files, self.columns, self.batch_rows = files, columns, batch_rows
        self._place = (0, 0, 0)
        self._batches: Iterator[pa.RecordBatch] = iter(())

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        """Starts at the beginning, or where `initial_state` was taken."""
        super().reset(initial_state)
        state = initial_state or {}
        self._place = (state.get(self.FILE_KEY, 0), state.get(self.ROW_GROUP_KEY, 0), state.get(self.BATCH_KEY, 0))
        self._batches = self._read(*self._place)

    def next(self) -> pa.RecordBatch:
        return next(self._batches)

    def get_state(self) -> dict[str, Any]:
        return dict(zip((self.FILE_KEY, self.ROW_GROUP_KEY, self.BATCH_KEY), self._place, strict=True))

    def _read(self, first_file: int, first_group: int, skip: int) -> Iterator[pa.RecordBatch]:
        for index in range(first_file, len(self.files)):
            path = self.files[index]
            with readable(path), pq.ParquetFile(path, buffer_size=BUFFER_BYTES) as file:
                for group in range(first_group, file.num_row_groups):
                    batches = file.iter_batches(self.batch_rows, row_groups=[group], columns=self.columns)
                    for number, batch in enumerate(batches):
                        if number >= skip:
                            self._place = (index, group, number + 1)
                            yield batch
                    skip = 0
            first_group = 0
