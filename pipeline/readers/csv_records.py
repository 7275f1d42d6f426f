"""Rows of CSV and TSV files, streamed; what does not read as a row becomes a `BadRow`, and leaves with its batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv

from pipeline.readers.base import EXCERPT_BYTES, FileFault, Reading, Rows, Source
from pipeline.readers.csv_split import (
    MAX_RECORD_BYTES,
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
from pipeline.readers.dialect import SAMPLE_BYTES, read_fully, resolved, utf8_blocks
from pipeline.readers.opening import opened, readable
from schemas.reject import BadRow

BLOCK_BYTES = 1 << 20
ARROW_BYTES = 1 << 30
"""More than a block can have, so that Arrow takes each whole."""
MAX_BAD = 1024
"""Faulty rows leave after so many, however many a block has."""

LIMIT = f"{MAX_RECORD_BYTES >> 20} MiB"
DETAILS = {
    MISPLACED: "in the quotation marks that row {row} opens; text follows where they close",
    NEVER_CLOSED: "in the quotation marks that row {row} opens; nothing closes them",
    NOT_WITHIN_LIMIT: f"in the quotation marks that row {{row}} opens; nothing closes them within {LIMIT}",
    SWALLOWED: "in the quotation marks that row {row} opens, though it looks like a row of its own",
}


def read(source: Source, reading: Reading) -> Iterator[Rows]:
    """Rows of a table of text with a header; a quoted line break is part of a value, an empty cell is null.

    Raises:
        FileFault: the file cannot be read, a column is missing, or a line is too long.
    """
    with readable(source), _opened_table(source, reading) as (table, rest, blocks):
        if table is None:
            return
        reader = _Reader(source, reading, table)
        final = False
        while not final:
            block = next(blocks, None)
            final = block is None
            rest += block or b""
            pieces = reader.split(rest, final)
            yield from reader.rows(rest, pieces)
            rest = rest[pieces.rest :]


def schema(source: Source, reading: Reading) -> pa.Schema:
    """The columns, all of them binary; none where there is no header.

    Raises:
        FileFault: the file cannot be read, or its header is no record.
    """
    with readable(source), _opened_table(source, reading) as (table, _, _):
        return pa.schema([] if table is None else [(name, pa.binary()) for name in table.names])


@dataclass(frozen=True, slots=True)
class _Table:
    """Column names, trimmed, and what separates fields."""

    names: list[str]
    marks: Marks


@contextmanager
def _opened_table(source: Source, reading: Reading) -> Iterator[tuple[_Table | None, bytes, Iterator[bytes]]]:
    """The table (None where the file has no header), the data after its header as far as read, and what follows."""
    with opened(source.path, source.compression) as stream:
        sample = read_fully(stream, SAMPLE_BYTES)
        dialect = resolved(source, reading.dialect, sample)
        marks = Marks(dialect.delimiter.encode(), dialect.quote.encode())
        blocks = utf8_blocks(source, stream, sample, dialect.encoding, BLOCK_BYTES)
        header, rest = _header(source, marks, blocks)
        yield None if header is None else _Table(_names(header, marks), marks), rest, blocks


def _header(source: Source, marks: Marks, blocks: Iterator[bytes]) -> tuple[bytes | None, bytes]:
    """The header's record and what follows it of its block; blank lines before it are passed over."""
    data, final = b"", False
    while True:
        try:
            piece = next_record(data, marks, final)
        except TooLongError as error:
            raise FileFault(source.name, "too_large", f"its first line is longer than {LIMIT}; is it a table?") from error
        if len(piece):
            if piece.fault[0] != SOUND:
                detail = "the quotation marks of its header do not match; mend it, or read it with --quote none"
                raise FileFault(source.name, "damaged", detail)
            header, data = data[: piece.stop[0]], data[piece.after[0] :]
            if header.strip():
                return header, data
        elif final:
            return None, b""
        else:
            block = next(blocks, None)
            final = block is None
            data += block or b""


def _names(header: bytes, marks: Marks) -> list[str]:
    width = next_record(header, marks, final=True).columns[0]
    cells = _parsed(header, marks, width, list(range(width))).columns
    names = (cell[0].as_py() or b"" for cell in cells)
    return [name.decode("utf-8", "replace").strip().removeprefix("\ufeff").strip() for name in names]


def _parsed(data: bytes, marks: Marks, width: int, columns: list[int]) -> pa.RecordBatch:
    """Records without a fault as a batch whose columns are named by their positions."""
    if data.startswith(b"\xef\xbb\xbf"):
        data = b"\n" + data  # Arrow would take it for a byte order mark
    names = [str(column) for column in columns]
    table = pa_csv.read_csv(
        pa.BufferReader(data),
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=ARROW_BYTES, column_names=[str(column) for column in range(width)]
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=marks.delimiter.decode(), quote_char=marks.quote.decode() or False, newlines_in_values=True
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=names,
            column_types=dict.fromkeys(names, pa.binary()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,
        ),
    )
    return table.combine_chunks().to_batches()[0]


@dataclass(slots=True)
class _Reader:
    """Turns the pieces of block after block into rows."""

    source: Source
    reading: Reading
    table: _Table
    row: int = 0
    columns: list[int] = field(init=False)
    schema: pa.Schema = field(init=False)

    def __post_init__(self) -> None:
        names = self.table.names
        wanted = self.reading.columns
        self.columns = list(range(len(names))) if wanted is None else [self._column(name) for name in wanted]
        self.schema = pa.schema([(names[column], pa.binary()) for column in self.columns])

    def split(self, data: bytes, final: bool) -> Pieces:
        try:
            return split(data, self.table.marks, final)
        except TooLongError as error:
            sound = split(data[: error.start], self.table.marks, final=True)
            row = self.row + int(self._numbers(data, sound).sum())
            detail = (
                f"row {row:,} has a line of more than {LIMIT}, the most that a row may have. Most often a quotation mark "
                "is never closed; mend the file, or read it with --quote none"
            )
            raise FileFault(self.source.name, "too_large", detail) from error

    def rows(self, data: bytes, pieces: Pieces) -> Iterator[Rows]:
        """The rows of a block and its faults; some faults leave before, where there are many."""
        numbers = self._numbers(data, pieces)
        row = self.row + np.cumsum(numbers) - numbers
        self.row += int(numbers.sum())
        good = (pieces.columns == len(self.table.names)) & (pieces.fault == SOUND)
        bad: list[BadRow] = []
        for index in np.flatnonzero(~good & (numbers > 0)).tolist():
            for fault in self._faults(data, pieces, index, int(row[index])):
                bad.append(fault)
                if len(bad) == MAX_BAD:
                    yield Rows(table=pa.RecordBatch.from_pylist([], self.schema), row=np.empty(0, np.int64), bad=bad)
                    bad = []
        if bad or good.any():
            yield Rows(table=self._batch(data, pieces, good), row=row[good], bad=bad)

    def _numbers(self, data: bytes, pieces: Pieces) -> npt.NDArray[np.int64]:
        """(P,) how many rows each piece counts for."""
        numbers = (~pieces.blank).astype(np.int64)
        for index in np.flatnonzero(pieces.fault).tolist():
            numbers[index] = len(lines_of(data[pieces.start[index] : pieces.stop[index]]))
        return numbers

    def _batch(self, data: bytes, pieces: Pieces, good: npt.NDArray[np.bool_]) -> pa.RecordBatch:
        kept = good | pieces.blank
        if not good.any():
            return pa.RecordBatch.from_pylist([], self.schema)
        if not kept.all():
            edges = np.flatnonzero(np.diff(kept, prepend=False, append=False))
            runs = zip(pieces.start[edges[::2]].tolist(), pieces.after[edges[1::2] - 1].tolist(), strict=True)
            data = b"".join(data[start:after] for start, after in runs)
        elif pieces.rest < len(data):
            data = data[: pieces.rest]
        batch = _parsed(data, self.table.marks, len(self.table.names), self.columns)
        assert len(batch) == good.sum()
        return pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)

    def _faults(self, data: bytes, pieces: Pieces, index: int, row: int) -> Iterator[BadRow]:
        record = data[pieces.start[index] : pieces.stop[index]]
        if pieces.fault[index] == SOUND:
            detail = f"{pieces.columns[index]} columns instead of {len(self.table.names)}"
            yield self._bad(row, "malformed_row", detail, record)
            return
        detail = DETAILS[int(pieces.fault[index])].format(row=row)
        for number, line in enumerate(lines_of(record), row):
            yield self._bad(number, "unclosed_quote", detail, line)

    def _bad(self, row: int, reason: str, detail: str, excerpt: bytes) -> BadRow:
        return BadRow(source=self.source.name, row=row, reason=reason, detail=detail, excerpt=excerpt[:EXCERPT_BYTES])

    def _column(self, name: str) -> int:
        names = self.table.names
        if names.count(name) == 1:
            return names.index(name)
        fault = "is there twice; rename one of them" if name in names else f"is missing; there are {', '.join(names)}"
        raise FileFault(self.source.name, "column", f"the column {name!r} {fault}")
