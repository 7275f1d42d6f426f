"""`.arrow`, `.feather`: Arrow's IPC file format (Feather version 2), and its stream format."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.readers.base import FileFault, Format, Reading, Rows, Source, check_columns
from pipeline.readers.bounds import Bounds, beyond

if TYPE_CHECKING:
    import pyarrow as pa

FILE_MAGIC = b"ARROW1"
RATIO = 16
"""Text is compressed to a third or a tenth."""


def read(source: Source, reading: Reading) -> Iterator[Rows]:
    import numpy as np

    from pipeline.readers.opening import readable
    from pipeline.readers.rows_at_once import rows_of_arrow
    from pipeline.readers.structs import select

    row = 0
    with readable(source):
        _check_batches(source, reading.bounds)
        for batch in _batches(source):
            batch.validate(full=True)
            at_once = rows_of_arrow(source, batch, reading.bounds)
            for start in range(0, len(batch), at_once):
                part = batch.slice(start, at_once)
                table = part if reading.columns is None else select(part, reading.columns)
                yield Rows(table=table, row=np.arange(row, row + len(part)))
                row += len(part)


def schema(source: Source, reading: Reading) -> "pa.Schema":
    import pyarrow as pa

    from pipeline.readers.opening import readable, seekable

    with readable(source), seekable(source.path) as stream:
        _check_batches(source, reading.bounds)
        found = (pa.ipc.open_file(stream) if _is_file(source) else pa.ipc.open_stream(stream)).schema
        check_columns(source, len(found), reading.bounds)
        return found


def _check_batches(source: Source, bounds: Bounds) -> None:
    """Refuses compressed batches that take far more memory than they take on the disk.

    Raises:
        FileFault: a batch, with all dictionaries before it, is larger than the bound of a page.
        OSError: the file is damaged.
    """
    from pipeline.readers.arrow_messages import messages

    stored = size = 0
    for message in messages(source.path):
        all_stored, all_size = stored + message.stored, size + message.decompressed
        if all_size > bounds.page and all_size > RATIO * all_stored:
            what = f"a batch, decompressed to {all_size:,} bytes,"
            remedy = "Write the file with smaller batches"
            raise FileFault(source.name, "too_large", beyond(what, "--max-page-bytes", bounds.page, remedy))
        if message.is_dictionary:
            stored, size = all_stored, all_size


def _batches(source: Source) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa

    from pipeline.readers.opening import seekable

    with seekable(source.path) as stream:
        if _is_file(source):
            file = pa.ipc.open_file(stream)
            for index in range(file.num_record_batches):
                yield file.get_batch(index)
        else:
            yield from pa.ipc.open_stream(stream)


def _is_file(source: Source) -> bool:
    with source.path.open("rb") as file:
        return file.read(len(FILE_MAGIC)) == FILE_MAGIC


FORMAT = Format(
    name="arrow",
    suffixes=(".arrow", ".feather", ".arrows"),
    summary="Arrow IPC and Feather",
    compressible=False,
    read=read,
    schema=schema,
)
