"""`.parquet`, `.pq`: streamed by row group; page checksums are verified where the file has them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.readers.base import BATCH_ROWS, FileFault, Format, Reading, Rows, Source

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BUFFER_BYTES = 1 << 20
"""Column chunks are read in pieces of this size, so that one huge row group costs no more memory than many small ones."""


def read(source: Source, reading: Reading) -> Iterator[Rows]:
    import numpy as np

    from pipeline.readers.opening import readable
    from pipeline.readers.structs import select, top_level

    with readable(source), _opened(source) as file:
        schema = file.schema_arrow
        columns = None if reading.columns is None else top_level(schema, reading.columns)
        row = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            table = batch if reading.columns is None else select(batch, reading.columns)
            yield Rows(table=table, row=np.arange(row, row + len(batch)))
            row += len(batch)


def schema(source: Source, reading: Reading) -> "pa.Schema":
    from pipeline.readers.opening import readable

    with readable(source), _opened(source) as file:
        return file.schema_arrow


def _opened(source: Source) -> "pq.ParquetFile":
    import pyarrow.parquet as pq

    from pipeline.readers.opening import opened

    if source.path.stat().st_size == 0:
        raise FileFault(source.name, "damaged", "empty (0 bytes), so not a Parquet file. Was it written to the end?")
    return pq.ParquetFile(opened(source.path, None), buffer_size=BUFFER_BYTES, page_checksum_verification=True)


FORMAT = Format(
    name="parquet", suffixes=(".parquet", ".pq"), summary="Parquet", compressible=False, read=read, schema=schema
)
