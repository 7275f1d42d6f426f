"""Plain text, one review per line, as printed by other programs. It has no suffix: use `--format lines`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.readers.base import Format, Reading, Rows, Source

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN = "text"


def read(source: Source, reading: Reading) -> Iterator[Rows]:
    """Each line is a row, blank ones too, so that line N of the file is row N."""
    import numpy as np
    import pyarrow as pa

    from pipeline.readers.line_batches import line_batches

    columns = [COLUMN] if reading.columns is None else list(reading.columns)
    for lines, first in line_batches(source, reading):
        table = pa.RecordBatch.from_arrays([pa.array(lines, pa.binary())] * len(columns), names=columns)
        yield Rows(table=table, row=np.arange(first, first + len(lines)))


def schema(source: Source, reading: Reading) -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([(COLUMN, pa.binary())])


FORMAT = Format(
    name="lines", text_column=COLUMN, suffixes=(), summary="one review per line", text_cells=True, read=read, schema=schema
)
