"""Rows of Parquet files, streamed by row group."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.datapipes.raw import BATCH_ROWS, Columns, Item, holds_text, opened
from pipeline.datapipes.sources import Source
from pipeline.datapipes.tables import cut_batches, present_columns, unreadable
from pipeline.errors import DataError


def parquet_rows(source: Source, columns: Columns) -> Iterator[Item]:
    """Rows of a Parquet file, streamed by row group.

    Raises:
        DataError: no Parquet file, a column missing, or a text column that holds no text.
    """
    try:
        with opened(source.path, None) as stream, pq.ParquetFile(stream) as file:
            schema = file.schema_arrow
            columns = present_columns(source, columns, schema.names)
            kind = schema.field(columns.text).type
            if not holds_text(kind):
                texts = ", ".join(field.name for field in schema if holds_text(field.type)) or "none"
                raise DataError(
                    f"{source.path}: the text column {columns.text!r} is {kind}; text is needed. "
                    f"Columns that hold text: {texts}. Name one with --text-column."
                )
            row = 0
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns.names()):
                yield from cut_batches(source, batch, list(range(row, row + len(batch))), columns, [])
                row += len(batch)
    except (pa.ArrowInvalid, OSError) as error:
        raise unreadable(source, error) from error
