"""Plain text, one review per line, as printed by other programs. It has no suffix: use `--format lines`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.readers.base import BATCH_ROWS, Format, Reading, Rows, Source

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN = "text"


def read(source: Source, reading: Reading) -> Iterator[Rows]:
    """Each line is a row, blank ones too, so that line N of the file is row N."""
    import numpy as np

    from pipeline.readers.json_records import BOM, every_line
    from pipeline.readers.opening import opened, readable

    def rows(lines: list[bytes], first: int) -> Rows:
        columns = [COLUMN] if reading.columns is None else list(reading.columns)
        table = pa.RecordBatch.from_arrays([pa.array(lines, pa.binary())] * len(columns), names=columns)
        return Rows(table=table, row=np.arange(first, first + len(lines)))

    import pyarrow as pa

    lines: list[bytes] = []
    first = size = 0
    with readable(source), opened(source.path, source.compression, reading.bounds) as stream:
        for number, line in enumerate(every_line(source, stream)):
            lines.append(line.removesuffix(b"\r") if number else line.removesuffix(b"\r").removeprefix(BOM))
            size += len(line)
            if len(lines) == BATCH_ROWS or size >= reading.bounds.batch:
                yield rows(lines, first)
                lines, first, size = [], number + 1, 0
        if lines:
            yield rows(lines, first)


def schema(source: Source, reading: Reading) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([(COLUMN, pa.binary())])


FORMAT = Format(
    name="lines", text_column=COLUMN, suffixes=(), summary="one review per line", text_cells=True, read=read, schema=schema
)
