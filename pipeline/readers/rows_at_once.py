"""How many rows are decoded at once: a value that many rows share is small on the disk and large in memory."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.readers.base import BATCH_ROWS, FileFault, Source
from pipeline.readers.bounds import MIB, Bounds, beyond
from pipeline.readers.parquet_pages import check_footer, pages
from pipeline.readers.values import holds_text

AT_ONCE_BYTES = 16 * MIB
"""Rows that are decoded at once take no more, unless a single one does."""
LONG_BYTES = 64 << 10
"""Values of lists that are not longer are words, not texts."""
LIST_RATIO = 64
"""A bit for each number of 8 bytes is the least that lists of different numbers take."""
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
LIST_ITEM_BYTES = 16
"""A short string in a list: its offset, its bytes."""


def rows_of_parquet(source: Source, file: pq.ParquetFile, columns: Sequence[str] | None, bounds: Bounds) -> int:
    """How many rows of a file may be decoded at once.

    Args:
        columns: names of top-level columns that are read; None for all.

    Raises:
        FileFault: a page, or a value that rows share, is larger than its bound.
        OSError: the file is damaged.
    """
    leaves = [file.schema.column(index) for index in range(len(file.schema))]
    read = [at for at, leaf in enumerate(leaves) if columns is None or any(_is_in(leaf.path, column) for column in columns)]
    check_footer(source.path, leaves)
    largest = 0
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        row_bytes = sum(_bytes_of_a_row(source, group.column(at), leaves[at], bounds) for at in read)
        _check_row(source, "a row", row_bytes, bounds)
        largest = max(largest, row_bytes)
    return _rows(largest)


def rows_of_arrow(source: Source, batch: pa.RecordBatch, bounds: Bounds) -> int:
    """How many rows of a record batch may be decoded at once.

    Raises:
        FileFault: a value that rows share is larger than its bound.
    """
    row_bytes = sum(_longest(column) for column in batch.columns)
    _check_row(source, "a row", row_bytes, bounds)
    return _rows(row_bytes)


def _rows(row_bytes: int) -> int:
    return max(1, min(BATCH_ROWS, AT_ONCE_BYTES // max(row_bytes, 1)))


def _longest(array: pa.Array) -> int:
    """The bytes of the longest value that an array may hold once for several rows; 0 where each row has its own."""
    kind = array.type
    if pa.types.is_struct(kind):
        return sum(map(_longest, array.flatten()))
    if pa.types.is_run_end_encoded(kind):
        return _longest_text(array.values)
    if pa.types.is_dictionary(kind):
        return _longest_text(array.dictionary)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return _longest_view(array)
    return _longest(array.values) if pa.types.is_list(kind) or pa.types.is_large_list(kind) else 0


def _longest_text(array: pa.Array) -> int:
    if not holds_text(array.type) or pa.types.is_dictionary(array.type) or pa.types.is_string_view(array.type):
        return _longest(array)
    return int(pc.max(pc.binary_length(array)).as_py() or 0)


def _longest_view(array: pa.Array) -> int:
    """A view begins with its length; several may look at the same bytes."""
    views = np.frombuffer(array.buffers()[1], np.int32).reshape(-1, 4)
    lengths = views[array.offset : array.offset + len(array), 0]
    return int(lengths.max(initial=0))


def _is_in(path: str, column: str) -> bool:
    """Whether a leaf's path (`review.body`) lies in a column, whose own name may hold dots."""
    return path == column or path.startswith(f"{column}.")


def _bytes_of_a_row(source: Source, chunk: pq.ColumnChunkMetaData, leaf: pq.ColumnSchema, bounds: Bounds) -> int:
    """At most as many bytes as a row takes, on the average of the page with the largest rows.

    Raises:
        FileFault: see `rows_of_parquet`.
    """
    place = f"column {chunk.path_in_schema!r}"
    repeated = leaf.max_repetition_level > 0
    if repeated:
        _check_lists(source, chunk, place, bounds)
    row = shared = longest = 0
    for page in pages(source.path, chunk, leaf, bounds.other_row):
        if page.size > bounds.page:
            remedy = "Write the file with smaller pages"
            what = f"a page of {place}, decompressed to {page.size:,} bytes,"
            raise FileFault(source.name, "too_large", beyond(what, "--max-page-bytes", bounds.page, remedy))
        shared, longest = max(shared, page.shared), max(longest, page.longest)
        if not page.is_dictionary and page.values:
            row = max(row, page.size // page.values)
    row = max(row, shared)
    # One list may hold all copies of a long value: how many, only the decoded levels say.
    most = shared * chunk.num_values if repeated and shared > LONG_BYTES else max(row, longest)
    _check_row(source, f"a row of {place}", most, bounds)
    return row


def _check_row(source: Source, what: str, size: int, bounds: Bounds) -> None:
    """Raises `FileFault` where a row is larger than its bound."""
    if size > bounds.other_row:
        what = f"{what}, of up to {size:,} bytes,"
        raise FileFault(source.name, "too_large", beyond(what, "--max-row-bytes", bounds.other_row, "Shorten the values"))


def _check_lists(source: Source, chunk: pq.ColumnChunkMetaData, place: str, bounds: Bounds) -> None:
    """Refuses lists that compression or encoding has made tiny: one row may hold all of their values.

    Raises:
        FileFault: they take more than the bound of a page, and far more than on the disk.
    """
    size = max(chunk.num_values * WIDTHS.get(chunk.physical_type, LIST_ITEM_BYTES), chunk.total_uncompressed_size)
    if size > bounds.page and size > LIST_RATIO * chunk.total_compressed_size:
        what = f"a list of {place}, of up to {size:,} bytes,"
        remedy = "Write the file with smaller row groups"
        raise FileFault(source.name, "too_large", beyond(what, "--max-page-bytes", bounds.page, remedy))
