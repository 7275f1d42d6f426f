"""Batches of raw reviews as ingest takes them: bytes, not yet checked."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake.identity import place_ids
from pipeline.readers.base import BATCH_ROWS, EXCERPT_BYTES, FileFault, Rows, Source
from pipeline.readers.bounds import DEFAULT_BOUNDS, Bounds, beyond
from pipeline.readers.roles import Resolved
from pipeline.readers.values import column_of, constant, is_nested, plain, value_of
from schemas.reject import BadRow


@dataclass(slots=True, kw_only=True)
class RawBatch:
    """N rows of one or several sources; columns are None where the source has none. Binary ones may not be UTF-8."""

    source: pa.StringArray
    row: pa.Int64Array
    text: pa.BinaryArray
    review_id: pa.BinaryArray
    label: pa.BinaryArray | None = None
    target: pa.BinaryArray | None = None
    stars: pa.Int32Array | None = None
    split: pa.BinaryArray | None = None
    group: pa.BinaryArray | None = None
    bad: list[BadRow] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)
    """Files of one review that could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFiles:
    """Names of `.txt` files of one folder, to be opened by whoever works on the batch. `name` is the folder's, and `place`
    where it really is, links resolved.

    `told` holds what partitions tell of all of them: label, split or group.
    """

    folder: Path
    name: str
    place: str
    files: tuple[str, ...]
    bounds: Bounds = DEFAULT_BOUNDS
    told: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Groups of the reviews of one folder: line N, a string in a dictionary, is the group of review N.

    None, and why, where the list cannot be read: the folder's reviews must not go without their groups.
    """

    folder: str
    lines: pa.DictionaryArray | None
    fault: FileFault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRows:
    """Rows of a table, to be made reviews by whoever works on the batch."""

    source: str
    rows: Rows
    columns: Resolved
    bounds: Bounds = DEFAULT_BOUNDS


Item = RawBatch | TextFiles | Groups | TableRows
"""What flows out of the readers."""


def batches_of(source: Source, rows: Rows, columns: Resolved, bounds: Bounds) -> Iterator[TableRows]:
    """Cuts rows into batches of bounded rows and bytes of text; the faults go with the first."""
    bad = rows.bad
    texts = [name for name in columns.text if name not in columns.partitions]
    for start, end in _cuts(rows.table, texts, bounds.batch):
        part = Rows(table=rows.table.slice(start, end - start), row=rows.row[start:end], bad=bad)
        yield TableRows(source=source.name, rows=part, columns=columns, bounds=bounds)
        bad = []
    if bad:
        none = Rows(table=rows.table.slice(0, 0), row=rows.row[:0], bad=bad)
        yield TableRows(source=source.name, rows=none, columns=columns, bounds=bounds)


def reviews_of_table(item: TableRows, rule: int) -> RawBatch:
    """The reviews in rows of a table.

    Args:
        rule: version of the rule for values.
    """
    table, columns = item.rows.table, item.columns
    row = pa.array(item.rows.row, pa.int64())

    def values(name: str | None) -> pa.BinaryArray | None:
        if name is None or (name not in columns.partitions and name not in table.schema.names):
            return None
        if name in columns.partitions:
            return constant(value_of(columns.partitions[name], rule), len(row))
        return column_of(table[name], rule)

    ids = place_ids(item.source, row).cast(pa.binary())
    if columns.id is not None:
        found = values(columns.id)
        ids = pa.nulls(len(row), pa.binary()) if found is None else found
    batch = RawBatch(
        source=pa.repeat(pa.scalar(item.source, pa.string()), len(row)),
        row=row,
        text=text_of(table, columns),
        review_id=ids,
        label=values(columns.label),
        target=values(columns.target),
        split=values(columns.split),
        group=values(columns.group),
        bad=list(item.rows.bad),
    )
    return _without_oversized(batch, item.bounds.value)


def text_of(table: pa.RecordBatch, columns: Resolved) -> pa.BinaryArray:
    """The texts of the rows, not yet checked to be UTF-8; those of several columns joined by line breaks."""
    return joined([_text(table, columns, name) for name in columns.text])


def without(batch: RawBatch, keep: pa.BooleanArray) -> RawBatch:
    """The batch with only the rows to keep."""

    def kept(column: pa.Array | None) -> pa.Array | None:
        return None if column is None else column.filter(keep)

    return RawBatch(
        source=batch.source.filter(keep),
        row=batch.row.filter(keep),
        text=batch.text.filter(keep),
        review_id=batch.review_id.filter(keep),
        label=kept(batch.label),
        target=kept(batch.target),
        stars=kept(batch.stars),
        split=kept(batch.split),
        group=kept(batch.group),
        bad=batch.bad,
        faults=batch.faults,
    )


def too_large(source: str, row: int, content: bytes, limit: int) -> BadRow:
    """The reject for a text of more bytes than a review may have."""
    detail = beyond("the text", "--max-value-bytes", limit, "Shorten it")
    return BadRow(source=source, row=row, reason="too_large", detail=detail, excerpt=content[:EXCERPT_BYTES])


def _without_oversized(batch: RawBatch, limit: int) -> RawBatch:
    if not len(batch.text) or (pc.max(pc.binary_length(batch.text)).as_py() or 0) <= limit:
        return batch
    keep = pc.less_equal(pc.binary_length(batch.text), limit).fill_null(True)
    for i in pc.indices_nonzero(pc.invert(keep)).to_pylist():
        batch.bad.append(too_large(batch.source[i].as_py(), batch.row[i].as_py(), batch.text[i].as_py(), limit))
    return without(batch, keep)


def _text(table: pa.RecordBatch, columns: Resolved, name: str) -> pa.BinaryArray:
    if name in columns.partitions:
        return pa.repeat(pa.scalar(columns.partitions[name], pa.string()), len(table)).cast(pa.binary())
    if name not in table.schema.names:
        return pa.nulls(len(table), pa.binary())
    column = plain(table[name])
    if is_nested(column.type):
        return pa.nulls(len(table), pa.binary())
    return column.cast(pa.binary())


def joined(texts: list[pa.BinaryArray]) -> pa.BinaryArray:
    """Texts of several columns with line breaks between them; null where all are null or empty."""
    if len(texts) == 1:
        return texts[0]
    texts = [pc.if_else(pc.equal(pc.binary_length(text), 0), None, text) for text in texts]
    found = texts[0]
    for text in texts[1:]:
        # Not null_handling="skip": it loses the row where all are null (Arrow 26).
        found = pc.coalesce(pc.binary_join_element_wise(found, text, b"\n"), found, text)
    return found


def _cuts(table: pa.RecordBatch, texts: list[str], most: int) -> Iterator[tuple[int, int]]:
    sizes = np.zeros(len(table), np.int64)
    for name in texts:
        if name in table.schema.names and not pa.types.is_null(table[name].type):
            sizes += pc.binary_length(plain(table[name]).cast(pa.large_binary())).fill_null(0).to_numpy()
    if len(table) <= BATCH_ROWS and int(sizes.sum()) < most:
        if len(table):
            yield 0, len(table)
        return
    start = size = 0
    for end, one in enumerate(sizes.tolist(), 1):
        size += one
        if end == len(table) or end - start >= BATCH_ROWS or size >= most:
            yield start, end
            start, size = end, 0
