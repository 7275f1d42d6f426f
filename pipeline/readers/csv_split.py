"""Where the records of a CSV file begin and end, and which lines a stray quotation mark makes doubtful.

A record is read as RFC 4180 and Arrow have it: a field that begins with a quotation mark lasts to the next single one,
line breaks included, and two of them stand for one; in any other field quotation marks are text. LF, CRLF and CR end lines.
What Arrow lets pass and this does not is a fault of quoting: text between a closing quotation mark and the next delimiter,
and a quotation mark that is never closed.

Most blocks have no fault. A kernel splits them; from the first fault on, `split_exactly` goes field by field.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.readers.bounds import CSV_ROW_BYTES
from pipeline.text import kernels

CR = 13
NO_QUOTE = -1
LINE_END = re.compile(rb"\r\n|\r|\n")

SOUND, MISPLACED, NEVER_CLOSED, NOT_WITHIN_LIMIT, SWALLOWED = range(5)
"""What is wrong with the quotation marks of a piece; the last is for `pipeline.readers.csv_swallowed` to find."""

Integers = npt.NDArray[np.int64]


class TooLongError(ValueError):
    """A line is longer than a record may be. `start` is where its record begins in the block."""

    def __init__(self, start: int) -> None:
        super().__init__(f"the record at byte {start} is too long")
        self.start = start


@dataclass(frozen=True, slots=True)
class Marks:
    """What separates fields and what quotes them, each one byte; `quote` is empty where nothing is quoted.

    A record may have `limit` bytes: a quotation mark that is not closed within them is taken for a stray one.
    """

    delimiter: bytes
    quote: bytes
    limit: int = CSV_ROW_BYTES

    def width(self, line: bytes) -> int:
        """Fields of a line whose quotation marks mean nothing."""
        return line.count(self.delimiter) + 1


@dataclass(frozen=True)
class Pieces:
    """Consecutive pieces of a block: records, blank lines, and spans of lines with a fault of quoting.

    Args:
        start: (P,) where each begins.
        stop: (P,) where its content ends, before the line end.
        after: (P,) where the next one begins.
        columns: (P,) fields; 0 for blank lines and faulty spans.
        fault: (P,) SOUND, or what is wrong.
        inner: (P,) line ends inside it.
        rest: where what is not yet complete begins.
    """

    start: Integers
    stop: Integers
    after: Integers
    columns: Integers
    fault: Integers
    inner: Integers
    rest: int

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def blank(self) -> npt.NDArray[np.bool_]:
        """(P,) whether it is a blank line."""
        return np.equal(self.start, self.stop)


def split(data: bytes, marks: Marks, final: bool) -> Pieces:
    """Splits a block that begins with a record; `final` where nothing follows.

    Raises:
        TooLongError: a record without line ends in it is longer than the limit.
    """
    fast, sound = _fast(data, marks)
    if sound and not final and len(data) - fast.rest <= marks.limit:
        return fast
    return _joined(fast, split_exactly(data, fast.rest, marks, final))


def next_record(data: bytes, marks: Marks, final: bool) -> Pieces:
    """The first piece of a block, if it is complete."""
    return split_exactly(data, 0, marks, final, most=1)


def lines_of(data: bytes) -> list[bytes]:
    """The lines of a span that are not blank, without their line ends."""
    return [line for line in data.splitlines() if line]


def _fast(data: bytes, marks: Marks) -> tuple[Pieces, bool]:
    """The records before the first fault, and whether there is none."""
    quote = marks.quote[0] if marks.quote else NO_QUOTE
    found, sound = kernels.csv_records(data, marks.delimiter[0], quote, marks.limit)
    records = np.frombuffer(found, np.int64).reshape(-1, 5)
    start, stop, after, columns, inner = records.T
    rest = int(after[-1]) if len(after) else 0
    return Pieces(start, stop, after, columns, np.zeros(len(start), np.int64), inner, rest), sound


def split_exactly(data: bytes, at: int, marks: Marks, final: bool, most: int | None = None) -> Pieces:
    """Splits `data` from a record's beginning on, field by field."""
    found: list[tuple[int, int, int, int, int]] = []
    scanner = _Scanner(data, marks, final)
    while at < len(data) and (most is None or len(found) < most):
        piece = scanner.piece(at)
        if piece is None:
            break
        found.append(piece)
        at = piece[2]
    start, stop, after, columns, fault = np.array(found, np.int64).reshape(-1, 5).T
    inner = np.array([_line_ends(data, first, last) for first, last, *_ in found], np.int64)
    return Pieces(start, stop, after, columns, fault, inner, at)


def _line_ends(data: bytes, start: int, stop: int) -> int:
    return data.count(b"\n", start, stop) + data.count(b"\r", start, stop) - data.count(b"\r\n", start, stop)


class _Scanner:
    """Finds one piece after the other."""

    def __init__(self, data: bytes, marks: Marks, final: bool) -> None:
        self.data, self.final = data, final
        self.delimiter, self.quote, self.limit = marks.delimiter, marks.quote, marks.limit
        self.field_end = re.compile(b"[" + re.escape(marks.delimiter) + b"\r\n]")

    def piece(self, start: int) -> tuple[int, int, int, int, int] | None:
        """Start, stop, after, columns and fault of the piece at `start`; None where more data is needed."""
        data, at, columns = self.data, start, 1
        limit = start + self.limit
        while True:
            if self.quote and data.startswith(self.quote, at):
                close = self._closing(at + 1)
                if close < 0:
                    return self._unclosed(start)
                at = close + 1
                if at < len(data) and data[at] not in b"\r\n" + self.delimiter:
                    return self._too_long(start) if at > limit else self._misplaced(start, close)
            else:
                match = self.field_end.search(data, at)
                at = match.start() if match else len(data)
            if at > limit:
                return self._too_long(start)
            if at == len(data):
                return (start, at, at, columns, SOUND) if self.final else None
            if data[at] in b"\r\n":
                after = self._after(at)
                return None if after is None else (start, at, after, columns if at > start else 0, SOUND)
            columns += 1
            at += 1

    def _closing(self, at: int) -> int:
        """The quotation mark that closes the field whose text begins at `at`; -1 where there is none."""
        while (at := self.data.find(self.quote, at)) >= 0 and self.data.startswith(self.quote, at + 1):
            at += 2
        return at

    def _after(self, at: int) -> int | None:
        """Where the line after the line end at `at` begins; None where that is not yet known."""
        if self.data[at] == CR and at + 1 == len(self.data) and not self.final:
            return None
        return at + 2 if self.data.startswith(b"\r\n", at) else at + 1

    def _misplaced(self, start: int, close: int) -> tuple[int, int, int, int, int] | None:
        """The span of a quotation mark at `close` that text follows.

        Where it may as well open a field of a later line, that line is read by itself.
        """
        data = self.data
        line = max(data.rfind(b"\n", start, close), data.rfind(b"\r", start, close)) + 1
        if line > start and (close == line or data.startswith(self.delimiter, close - 1)):
            return self._span(start, line, MISPLACED)
        match = LINE_END.search(data, close)
        limit = start + self.limit
        if len(data) > limit and (match is None or match.start() > limit):
            return self._too_long(start)
        if match is None:
            return (start, len(data), len(data), 0, MISPLACED) if self.final else None
        after = self._after(match.start())
        return None if after is None else (start, match.start(), after, 0, MISPLACED)

    def _unclosed(self, start: int) -> tuple[int, int, int, int, int] | None:
        if len(self.data) > start + self.limit:
            return self._too_long(start)
        return (start, len(self.data), len(self.data), 0, NEVER_CLOSED) if self.final else None

    def _too_long(self, start: int) -> tuple[int, int, int, int, int]:
        """The lines within the limit: those of a record that long can only stand in quotation marks."""
        limit = start + self.limit
        last = max(self.data.rfind(b"\n", start, limit), self.data.rfind(b"\r", start, limit))
        if last < 0:
            raise TooLongError(start)
        after = self._after(last)
        assert after is not None  # more than the limit's bytes are there
        return self._span(start, after, NOT_WITHIN_LIMIT)

    def _span(self, start: int, after: int, fault: int) -> tuple[int, int, int, int, int]:
        stop = after - (2 if self.data.endswith(b"\r\n", start, after) else 1)
        return (start, stop, after, 0, fault)


def _joined(first: Pieces, second: Pieces) -> Pieces:
    def both(name: str) -> Integers:
        return np.concatenate((getattr(first, name), getattr(second, name)))

    return Pieces(
        start=both("start"),
        stop=both("stop"),
        after=both("after"),
        columns=both("columns"),
        fault=both("fault"),
        inner=both("inner"),
        rest=second.rest,
    )
