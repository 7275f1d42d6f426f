"""Rows of CSV and TSV files, streamed; what does not read as a row becomes a `BadRow`, and leaves with its batch."""

from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.readers.base import EXCERPT_BYTES, FileFault, Reading, Rows, Source, check_columns
from pipeline.readers.bounds import beyond, in_units
from pipeline.readers.csv_cells import parsed
from pipeline.readers.csv_escapes import doubled_blocks
from pipeline.readers.csv_split import (
    MISPLACED,
    NEVER_CLOSED,
    NOT_WITHIN_LIMIT,
    SOUND,
    SWALLOWED,
    Marks,
    Pieces,
    TooLongError,
    lines_of,
    next_record,
    split,
)
from pipeline.readers.csv_swallowed import MIN_ROWS, Labels, Shapes, are_rows, doubtful, has_spaces
from pipeline.readers.dialect import SAMPLE_BYTES, SEPARATOR_LINE, Sniffed, announce, sniff
from pipeline.readers.encoding import utf8_blocks
from pipeline.readers.magic import check_is_text
from pipeline.readers.opening import opened, readable
from schemas.bad_row import BadRow

BLOCK_BYTES = 2 << 20
MAX_BAD = 1024
"""Faulty rows leave after so many, however many a block has."""

Flags = npt.NDArray[np.bool_]

DETAILS = {
    MISPLACED: "in quotation marks opened in row {row}; text follows the closing mark",
    NEVER_CLOSED: "in quotation marks opened in row {row} and never closed",
    NOT_WITHIN_LIMIT: "in quotation marks opened in row {row} and not closed within {limit}",
    SWALLOWED: "in quotation marks opened in row {row}, although it looks like a separate row",
}


def read(source: Source, reading: Reading) -> Iterator[Rows]:
    """Rows of a table of text with a header; a quoted line break is part of a value, an empty cell is null.

    Raises:
        FileFault: the file cannot be read, a column is missing, or a line is too long.
    """
    with readable(source), _opened_table(source, reading) as (table, rest, blocks):
        if table is None:
            return
        announce(source, table.dialect, reading.dialect)
        reader = TableReader(source, reading, table)
        final = False
        while not final:
            block = next(blocks, None)
            final = block is None
            rest += block or b""
            pieces, batch = reader.parsed(rest, final)
            yield from reader.rows(rest, pieces, batch)
            rest = rest[pieces.rest :]


def schema(source: Source, reading: Reading) -> pa.Schema:
    """The columns, all of them binary; none where there is no header.

    Raises:
        FileFault: the file cannot be read, or its header is no record.
    """
    with readable(source), _opened_table(source, reading) as (table, _, _):
        return pa.schema([] if table is None else [(name, pa.binary()) for name in table.names])


def dialect(source: Source, reading: Reading) -> Sniffed:
    """How the table is written, as its beginning shows it.

    Raises:
        FileFault: the file cannot be read.
    """
    with readable(source), opened(source.path, source.compression, reading.bounds) as stream:
        return _sniffed(source, reading, _read_fully(stream, SAMPLE_BYTES))


@dataclass(frozen=True, slots=True)
class _Table:
    """Column names, trimmed, the record that they come from, and how their table is written."""

    names: list[str]
    header: bytes
    dialect: Sniffed
    marks: Marks


@contextmanager
def _opened_table(source: Source, reading: Reading) -> Iterator[tuple[_Table | None, bytes, Iterator[bytes]]]:
    """The table (None where the file has no header), the data after its header as far as read, and what follows."""
    with opened(source.path, source.compression, reading.bounds) as stream:
        sample = _read_fully(stream, SAMPLE_BYTES)
        check_is_text(source, sample)
        dialect = _sniffed(source, reading, sample)
        marks = replace(dialect.marks, limit=reading.bounds.csv_row)
        blocks = utf8_blocks(_blocks(stream, sample), dialect.encoding)
        blocks = doubled_blocks(blocks, dialect.escape, dialect.quote)
        try:
            header, rest = _header(source, marks, blocks)
            check_columns(source, _width(header, marks), reading.bounds)
            yield None if header is None else _Table(_names(header, marks), header, dialect, marks), rest, blocks
        except UnicodeError as error:
            reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
            detail = f"is not {dialect.encoding} ({reason}). Set the encoding with --encoding, or get a new copy"
            raise FileFault(source.name, "damaged", detail) from error


def _sniffed(source: Source, reading: Reading, sample: bytes) -> Sniffed:
    return sniff(sample, source.format, reading.dialect, whole=len(sample) < SAMPLE_BYTES)


def _read_fully(stream: pa.NativeFile, size: int) -> bytes:
    """So many bytes, less only where the stream ends; a decompressing stream gives them in smaller parts."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _blocks(stream: pa.NativeFile, sample: bytes) -> Iterator[bytes]:
    yield from (sample[start : start + BLOCK_BYTES] for start in range(0, len(sample), BLOCK_BYTES))
    while block := _read_fully(stream, BLOCK_BYTES):
        yield block


def _header(source: Source, marks: Marks, blocks: Iterator[bytes]) -> tuple[bytes | None, bytes]:
    """The header's record and what follows it of its block; blank lines and Excel's `sep=;` before it are passed over."""
    data, final = b"", False
    while True:
        try:
            piece = next_record(data, marks, final)
        except TooLongError as error:
            detail = beyond("its first line", "--max-row-bytes", marks.limit, "Check that it is a table")
            raise FileFault(source.name, "too_large", detail) from error
        if len(piece):
            if piece.fault[0] != SOUND:
                detail = "the quotation marks in its header do not match; fix it, or read it with --quote none"
                raise FileFault(source.name, "damaged", detail)
            header, data = data[: piece.stop[0]], data[piece.after[0] :]
            if header.strip() and not SEPARATOR_LINE.fullmatch(header):
                return header, data
        elif final:
            return None, b""
        else:
            block = next(blocks, None)
            final = block is None
            data += block or b""


def _width(header: bytes | None, marks: Marks) -> int:
    return int(next_record(header, marks, final=True).columns[0]) if header else 0


def _names(header: bytes, marks: Marks) -> list[str]:
    width = _width(header, marks)
    cells = parsed(header, marks, width, range(width)).columns
    names = (cell[0].as_py() or b"" for cell in cells)
    return [name.decode("utf-8", "replace").strip().removeprefix("\ufeff").strip() for name in names]


class TableReader:
    """Turns the pieces of block after block into rows."""

    def __init__(self, source: Source, reading: Reading, table: _Table) -> None:
        self.source, self.table, self.row = source, table, 0
        names = table.names
        wanted = reading.columns
        self.columns = list(range(len(names))) if wanted is None else [self._column(name) for name in wanted]
        self.schema = pa.schema([(names[column], pa.binary()) for column in self.columns])
        self.labels = Labels(names.index(reading.label)) if reading.label in names else None
        self.parsed_columns = list(dict.fromkeys([*self.columns, *([self.labels.column] if self.labels else [])]))
        self.shapes: Shapes | None = None

    def parsed(self, data: bytes, final: bool) -> tuple[Pieces, pa.RecordBatch]:
        """The pieces of a block, and the cells of its good records."""
        pieces = self._split(data, final)
        return pieces, self._batch(data, pieces, self._good(pieces), self.parsed_columns)

    def _good(self, pieces: Pieces) -> Flags:
        return np.equal(pieces.columns, len(self.table.names)) & np.equal(pieces.fault, SOUND)

    def _split(self, data: bytes, final: bool) -> Pieces:
        try:
            return split(data, self.table.marks, final)
        except TooLongError as error:
            sound = split(data[: error.start], self.table.marks, final=True)
            row = self.row + int(self._numbers(data, sound).sum())
            remedy = "Usually, this is an unclosed quotation mark: fix the file, read it with --quote none"
            detail = beyond(f"row {row:,}", "--max-row-bytes", self.table.marks.limit, remedy)
            raise FileFault(self.source.name, "too_large", detail) from error

    def rows(self, data: bytes, pieces: Pieces, batch: pa.RecordBatch) -> Iterator[Rows]:
        """The rows of a block and its faults; some faults leave before, where there are many."""
        good = self._good(pieces)
        if len(swallowed := self._swallowed(data, pieces, good, batch)):
            pieces.fault[swallowed] = SWALLOWED
            batch = batch.filter(pa.array(pieces.fault[good] == SOUND))
            good &= pieces.fault == SOUND
        if headers := self._headers(data, pieces, good, batch):
            batch = batch.filter(pa.array(~np.isin(np.flatnonzero(good), headers)))
            good[headers] = False
        numbers = self._numbers(data, pieces)
        row = self.row + np.cumsum(numbers) - numbers
        self.row += int(numbers.sum())
        bad: list[BadRow] = []
        for index in np.flatnonzero(~good & (numbers > 0)).tolist():
            for fault in self.faults(data, pieces, index, int(row[index]), index in headers):
                bad.append(fault)
                if len(bad) == MAX_BAD:
                    yield Rows(table=pa.RecordBatch.from_pylist([], self.schema), row=np.empty(0, np.int64), bad=bad)
                    bad = []
        if bad or good.any():
            columns = [batch.column(str(column)) for column in self.columns]
            table = pa.RecordBatch.from_arrays(columns, schema=self.schema)
            yield Rows(table=table, row=row[good], bad=bad)

    def _swallowed(self, data: bytes, pieces: Pieces, good: Flags, batch: pa.RecordBatch) -> list[int]:
        """Positions of the records that are several rows between two stray quotation marks."""
        marks, width = self.table.marks, len(self.table.names)
        doubts = doubtful(data, pieces, marks, width)
        clear = good.copy()
        clear[doubts] = False
        if self.labels:
            self.labels.learn(batch.column(str(self.labels.column)).filter(pa.array(clear[good])))
        enough = np.count_nonzero(clear) >= MIN_ROWS
        if not (self.labels and self.labels.known) and enough and (self.shapes is None or len(doubts)):
            self.shapes = Shapes(self._batch(data, pieces, clear, list(range(width))))
        if not len(doubts):
            return []
        fits = self.labels if self.labels and self.labels.known else self.shapes
        if fits is None:
            return []
        spaces = has_spaces(batch.filter(pa.array(clear[good])))
        records = ((at, data[pieces.start[at] : pieces.stop[at]]) for at in doubts.tolist())
        return [at for at, record in records if are_rows(record, marks, width, fits, spaces)]

    def _headers(self, data: bytes, pieces: Pieces, good: Flags, batch: pa.RecordBatch) -> list[int]:
        """Positions of the good records that repeat the header, as in `cat a.csv b.csv`.

        In a table of one column it cannot be told from a review of that one word.
        """
        header = self.table.header
        if len(self.table.names) == 1:
            return []
        sizes = pieces.stop - pieces.start
        alike = good & ((sizes == len(header)) | (sizes == len(header) + len(BOM_UTF8)))
        records = ((at, data[pieces.start[at] : pieces.stop[at]]) for at in np.flatnonzero(alike).tolist())
        return [at for at, record in records if record.removeprefix(BOM_UTF8) == header]

    def _numbers(self, data: bytes, pieces: Pieces) -> npt.NDArray[np.int64]:
        """(P,) how many rows each piece counts for."""
        numbers = (~pieces.blank).astype(np.int64)
        for index in np.flatnonzero(pieces.fault).tolist():
            numbers[index] = len(lines_of(data[pieces.start[index] : pieces.stop[index]]))
        return numbers

    def _batch(self, data: bytes, pieces: Pieces, good: Flags, columns: list[int]) -> pa.RecordBatch:
        """The cells of the good records."""
        if not good.any():
            return pa.RecordBatch.from_pylist([], pa.schema([(str(column), pa.binary()) for column in columns]))
        kept = good | pieces.blank
        stop = None
        if not kept.all():
            edges = np.flatnonzero(np.diff(kept, prepend=False, append=False))
            runs = zip(pieces.start[edges[::2]].tolist(), pieces.after[edges[1::2] - 1].tolist(), strict=True)
            data = b"".join(data[start:after] for start, after in runs)
        elif pieces.rest < len(data):
            stop = pieces.rest
        batch = parsed(data, self.table.marks, len(self.table.names), columns, stop)
        assert len(batch) == np.count_nonzero(good)
        return batch

    def faults(self, data: bytes, pieces: Pieces, index: int, row: int, is_header: bool) -> Iterator[BadRow]:
        record = data[pieces.start[index] : pieces.stop[index]]
        if is_header:
            yield self._bad(row, "repeated_header", "the header again", record)
            return
        if pieces.fault[index] == SOUND:
            detail = f"{pieces.columns[index]} columns instead of {len(self.table.names)}"
            yield self._bad(row, "malformed_row", detail, record)
            return
        detail = DETAILS[int(pieces.fault[index])].format(row=row, limit=in_units(self.table.marks.limit))
        for number, line in enumerate(lines_of(record), row):
            yield self._bad(number, "unclosed_quote", detail, line)

    def _bad(self, row: int, reason: str, detail: str, excerpt: bytes) -> BadRow:
        return BadRow(source=self.source.name, row=row, reason=reason, detail=detail, excerpt=excerpt[:EXCERPT_BYTES])

    def _column(self, name: str) -> int:
        names = self.table.names
        if names.count(name) == 1:
            return names.index(name)
        fault = "appears twice; rename one of them" if name in names else f"is missing; there are {', '.join(names)}"
        raise FileFault(self.source.name, "column", f"the column {name!r} {fault}")
