"""`.parquet`, `.pq`: streamed by row group; page checksums are verified where the file has them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.readers.base import FileFault, Format, Reading, Rows, Source, check_columns

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BUFFER_BYTES = 1 << 20
"""Column chunks are read in pieces of this size, so that one huge row group costs no more memory than many small ones."""


def read(source: Source, reading: Reading) -> Iterator[Rows]:
    import numpy as np

    from pipeline.readers.opening import readable
    from pipeline.readers.rows_at_once import rows_of_parquet
    from pipeline.readers.structs import select, top_level

    with readable(source), _opened(source) as file:
        schema = file.schema_arrow
        columns = None if reading.columns is None else top_level(schema, reading.columns)
        row = 0
        for batch in file.iter_batches(batch_size=rows_of_parquet(source, file, columns, reading.bounds), columns=columns):
            table = batch if reading.columns is None else select(batch, reading.columns)
            yield Rows(table=table, row=np.arange(row, row + len(batch)))
            row += len(batch)


def schema(source: Source, reading: Reading) -> "pa.Schema":
    from pipeline.readers.opening import readable

    with readable(source), _opened(source) as file:
        check_columns(source, file.metadata.num_columns, reading.bounds)
        return file.schema_arrow


@contextmanager
def _opened(source: Source) -> Iterator["pq.ParquetFile"]:
    import pyarrow.parquet as pq

    from pipeline.readers.opening import seekable

    if source.path.stat().st_size == 0:
        raise FileFault(source.name, "damaged", "empty (0 bytes), so not a Parquet file. Check that writing it finished")
    with (
        seekable(source.path) as stream,
        # Arrow keeps what it has read ahead, `pre_buffer`, until the file is closed: memory would grow with it.
        pq.ParquetFile(stream, buffer_size=BUFFER_BYTES, page_checksum_verification=True, pre_buffer=False) as file,
    ):
        yield file


FORMAT = Format(
    name="parquet", suffixes=(".parquet", ".pq"), summary="Parquet", compressible=False, read=read, schema=schema
)
