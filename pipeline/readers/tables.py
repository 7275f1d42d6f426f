"""Sources as tables that keep all their columns: what a source has, and its rows with their texts."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipeline.printable import utf8_name
from pipeline.readers import json_text
from pipeline.readers.base import BATCH_ROWS, EXCERPT_BYTES, FileFault, Format, Reading, Rows, Source, Stamp
from pipeline.readers.encoding import likely_encoding
from pipeline.readers.layout import layout_of
from pipeline.readers.opening import fault_of, stamp
from pipeline.readers.registry import format_named
from pipeline.readers.reviews import Groups, RawBatch, TextFiles, joined, text_of
from pipeline.readers.roles import Columns, Resolved, resolve
from pipeline.readers.structs import home
from pipeline.readers.text_files import open_files
from schemas.bad_row import BadRow

Item = Rows | RawBatch | TextFiles
"""Rows on their way from a source to whoever works on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableBatch:
    """Rows of a table.

    Args:
        columns: (N,) those that were asked for, as the source has them: cells of CSV as strings, members of JSON objects
            as JSON text.
        texts: (N,) not yet checked to be UTF-8; null where there is none.
        bad: rows that were skipped.
        faults: files of one review that could not be read.
    """

    columns: pa.RecordBatch
    texts: pa.BinaryArray
    bad: list[BadRow] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A source and its columns.

    Args:
        schema: the columns by name, those that its folders name (`day=2024-01-01`) behind the file's own. Cells of CSV are
            strings; JSON has the types that hold all values of the file.
        roles: which of them hold the text.
        found: what the file was like when the table was opened; None for a folder of `.txt`.
    """

    REVIEW_COLUMNS: ClassVar[pa.Schema] = pa.schema([(name, pa.string()) for name in ("source", "text", "label", "split")])
    """The columns of reviews in files of their own; the last two as far as their place names them."""

    source: Source
    format: Format
    schema: pa.Schema
    roles: Resolved
    reading: Reading
    found: Stamp | None

    @property
    def is_json(self) -> bool:
        """Whether the columns are members of JSON objects."""
        return self.format.open_schema

    @property
    def constants(self) -> dict[str, str | None]:
        """The columns that the folders name."""
        return self.roles.partitions

    def items(self, columns: Sequence[str]) -> Iterator[Item]:
        """The rows, in bounded parts.

        Args:
            columns: names of the schema; what the texts need is added.

        Raises:
            FileFault: the source is damaged, or has changed since it was opened.
        """
        try:
            yield from self._reviews() if self.format.reviews is not None else self._rows(columns)
            changed = self.found is not None and stamp(self.source.path) != self.found
        except (OSError, MemoryError) as error:
            raise fault_of(self.source.name, self.source.format, self.source.compression, error) from error
        if changed:
            detail = "the file changed while being read. Score it again once it is complete"
            raise FileFault(self.source.name, "changed", detail)

    def batch(self, item: Item) -> TableBatch:
        """The rows of an item; what takes long, for worker threads."""
        if isinstance(item, TextFiles):
            item = open_files(item)
        if isinstance(item, RawBatch):
            return _valid(item.source.to_pylist(), item.row.to_pylist(), _of_reviews(item, self.schema.names))
        if self.is_json:
            texts = joined([json_text.text_of(item.table, name) for name in self.roles.text])
            return TableBatch(columns=item.table, texts=texts, bad=item.bad)
        batch = TableBatch(columns=item.table, texts=text_of(item.table, self.roles), bad=item.bad)
        return _valid([self.source.name] * len(item.row), item.row.tolist(), batch) if self.format.text_cells else batch

    def _reviews(self) -> Iterator[Item]:
        assert self.format.reviews is not None
        for item in self.format.reviews(self.source, self.reading):
            if not isinstance(item, Groups):
                yield item

    def _rows(self, columns: Sequence[str]) -> Iterator[Item]:
        assert self.format.read is not None
        if not len(self.schema):
            return
        present = [name for name in columns if name in self.schema.names]
        if self.is_json:
            wanted = [*present, *(home(self.schema, name)[0] for name in self.roles.text)]
        else:
            wanted = [*present, *self.roles.columns()]
        names = tuple(dict.fromkeys(name for name in wanted if name not in self.constants))
        reading = replace(self.reading, columns=names, text=self.roles.text, keep_nested=True, json_text=self.is_json)
        for rows in self.format.read(self.source, reading):
            bad = rows.bad
            for start in range(0, max(len(rows.table), 1), BATCH_ROWS):
                end = start + BATCH_ROWS
                yield Rows(table=rows.table.slice(start, BATCH_ROWS), row=rows.row[start:end], bad=bad)
                bad = []


def open_table(source: Source, text: tuple[str, ...], reading: Reading) -> Table:
    """Looks at a source. One of JSON is read whole, since a column may appear in any row.

    Args:
        text: the columns whose texts are joined by a line break; reviews in files of their own have one text anyway.

    Raises:
        FileFault: it cannot be read, or lacks a column of the text.
    """
    format = format_named(source.format)
    try:
        found = None if source.format == "txt" else source.stamp or stamp(source.path)
    except OSError as error:
        raise fault_of(source.name, source.format, source.compression, error) from error
    if format.reviews is not None:
        schema, roles = _review_columns(source), Columns(text=("text",))
    else:
        schema, roles = _columns(source, format, text, reading), Columns(text=text)
    resolved = resolve(source, format, schema, roles) if len(schema) else Resolved(text=text)
    for name in resolved.partitions if len(schema) else ():
        schema = schema.append(pa.field(name, pa.string()))
    return Table(source=source, format=format, schema=schema, roles=resolved, reading=reading, found=found)


def _columns(source: Source, format: Format, text: tuple[str, ...], reading: Reading) -> pa.Schema:
    if format.all_columns is not None:
        return format.all_columns(source, replace(reading, text=text))
    assert format.schema is not None
    schema = format.schema(source, reading)
    if not format.text_cells:
        return schema
    return pa.schema([pa.field(name, pa.string()) for name in schema.names])


def _review_columns(source: Source) -> pa.Schema:
    schema = Table.REVIEW_COLUMNS
    if source.format != "txt":
        return schema  # an archive's members are known only when they are read
    layout = layout_of(utf8_name(os.path.realpath(source.path)))
    absent = {name for name in ("label", "split") if getattr(layout, name) is None}
    return pa.schema([field for field in schema if field.name not in absent])


def _of_reviews(batch: RawBatch, names: Sequence[str]) -> TableBatch:
    values = {"source": batch.source, "text": batch.text, "label": batch.label, "split": batch.split}
    names = [name for name in names if name in values]
    columns = (pa.nulls(len(batch.row)) if values[name] is None else values[name] for name in names)
    arrays = [column if name == "text" else column.cast(pa.string()) for name, column in zip(names, columns, strict=True)]
    table = pa.RecordBatch.from_arrays(arrays, names=names)
    return TableBatch(columns=table, texts=batch.text, bad=list(batch.bad), faults=list(batch.faults))


def _valid(places: Sequence[str], rows: Sequence[int], batch: TableBatch) -> TableBatch:
    """Cells as strings; rows that are not UTF-8 are skipped."""
    kept = np.ones(len(batch.columns), bool)
    arrays = []
    for name, column in zip(batch.columns.schema.names, batch.columns.columns, strict=True):
        try:
            arrays.append(column.cast(pa.string()))
        except pa.ArrowInvalid:
            broken = [_broken(cell) for cell in column.to_pylist()]
            for i in (i for i, reason in enumerate(broken) if reason and kept[i]):
                kept[i] = False
                excerpt = (batch.texts[i].as_py() or b"")[:EXCERPT_BYTES]
                detail = f"the column {name!r} is not UTF-8: {broken[i]}"
                codec = likely_encoding(column[i].as_py())
                batch.bad.append(
                    BadRow(source=places[i], row=rows[i], reason="invalid_utf8", detail=detail, excerpt=excerpt, value=codec)
                )
            arrays.append(column.view(pa.string()))
    columns = pa.RecordBatch.from_arrays(arrays, names=batch.columns.schema.names) if arrays else batch.columns
    if kept.all():
        return replace(batch, columns=columns)
    mask = pa.array(kept)
    return replace(batch, columns=columns.filter(mask), texts=batch.texts.filter(mask))


def _broken(cell: bytes | None) -> str | None:
    try:
        (cell or b"").decode()
    except UnicodeDecodeError as error:
        return f"{error.reason} at offset {error.start}"
    return None
