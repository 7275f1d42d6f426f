"""Lines of JSON objects in batches, read by Arrow where it reads them as Python's `json` does.

Arrow takes what Python refuses and the other way round: an object over two lines, two in one, depth without limit, `NaN`.
So a batch goes to Arrow only if each of its lines is one object from the first byte to the last, and its values are of the
types that are expected. All others are read object by object, which says what is wrong with which.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from pipeline.readers.base import BATCH_ROWS, Reading
from pipeline.text.columns import HAS_NUL, NOT_UTF8, text_states

LF, CR, OPEN, CLOSE = b"\n\r{}"
WHITE_SPACE = b" \t\r\n"
DEEP = 300
"""So many brackets in one line may nest deeper than Python parses."""
DIGITS = 640
"""Python may refuse integers of more digits, whatever its limit is."""
STEP = DIGITS // 4
"""Four in a row of every so many bytes are digits in such an integer."""
PLAIN_FLOATS = (1e-3, 1e15)
"""Between these, Arrow and Python write the same digits."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines that are not blank, `data[starts[i]:stops[i]]`, and their numbers in the file. Iterates over both."""

    data: bytes
    starts: Integers
    stops: Integers
    numbers: Integers

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for number, start, stop in zip(self.numbers.tolist(), self.starts.tolist(), self.stops.tolist(), strict=True):
            yield number, self.data[start:stop]

    @classmethod
    def of(cls, data: bytes, first: int) -> "Lines":
        """The lines of `data`, which is not empty; its first has the number `first`, its last may lack a line feed."""
        stops = np.flatnonzero(np.frombuffer(data, np.uint8) == LF)
        if not data.endswith(b"\n"):
            stops = np.append(stops, len(data))
        starts = np.concatenate(([0], stops[:-1] + 1))
        numbers = np.arange(first, first + len(starts))
        odd = np.frombuffer(data, np.uint8)[np.minimum(starts, len(data) - 1)] != OPEN
        blank = np.zeros(len(starts), np.bool_)
        blank[odd] = [
            not data[start:stop].strip(WHITE_SPACE)
            for start, stop in zip(starts[odd].tolist(), stops[odd].tolist(), strict=True)
        ]
        return (
            cls(data, starts[~blank], stops[~blank], numbers[~blank]) if blank.any() else cls(data, starts, stops, numbers)
        )

    def batches(self, most: int) -> Iterator["Lines"]:
        """Batches of `BATCH_ROWS` lines or `most` bytes, whichever comes first; not the rest, which fills none."""
        ends = np.cumsum(self.stops - self.starts)
        begin = 0
        while True:
            before = int(ends[begin - 1]) if begin else 0
            end = min(begin + BATCH_ROWS, int(np.searchsorted(ends, before + most)) + 1)
            if end > len(self):
                return
            at, last = int(self.starts[begin]), int(self.stops[end - 1])
            part = slice(begin, end)
            yield Lines(self.data[at:last], self.starts[part] - at, self.stops[part] - at, self.numbers[part])
            begin = end


class ArrowLines:
    """Reads batches of lines by Arrow. The columns' types are those of the last batch that was read object by object."""

    def __init__(self, reading: Reading) -> None:
        names = reading.columns or ()
        self.text = reading.text
        self.schema: pa.Schema | None = None
        self.names = names
        # A dotted name may be that of a field, or of a field in some objects alone.
        flat = bool(names) and set(self.text) <= set(names) and not any("." in name for name in names)
        self.is_possible = flat and not reading.json_text and not reading.keep_nested and "".join(names).isprintable()

    def learn(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Takes the types of objects' values; where there are none, texts are expected."""
        if self.is_possible and records:
            kinds = ({type(record.get(name)) for record in records} for name in self.names)
            self.schema = pa.schema([(name, _type_of(found)) for name, found in zip(self.names, kinds, strict=True)])

    def table(self, lines: Lines) -> pa.RecordBatch | None:
        """The rows of the lines; None where Arrow cannot read them, or might not do so as Python does."""
        if self.schema is None or not _are_plain_objects(lines):
            return None
        parse = pa_json.ParseOptions(explicit_schema=self.schema, unexpected_field_behavior="ignore")
        read = pa_json.ReadOptions(use_threads=False, block_size=len(lines.data) + 1)
        try:
            table = pa_json.read_json(pa.BufferReader(lines.data), read_options=read, parse_options=parse)
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        if len(table) != len(lines) or table.schema.names != self.schema.names:
            return None
        if any(table[name].null_count for name in self.text):  # which may be missing, or null
            return None
        if not all(_are_plain_floats(column) for column in table.columns if pa.types.is_floating(column.type)):
            return None
        return table.combine_chunks().to_batches()[0]


def line_feeds(data: bytes) -> int:
    """How many there are: `bytes.count` takes five times as long."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == LF))


def _type_of(kinds: set[type]) -> pa.DataType:
    kinds = kinds - {type(None)}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def _are_plain_objects(lines: Lines) -> bool:
    """Whether each line begins and ends with a brace, and holds nothing that Arrow might read in another way."""
    data = np.frombuffer(lines.data, np.uint8)
    last = lines.stops - 1
    last = last - (data[last] == CR)
    if not ((data[lines.starts] == OPEN) & (data[last] == CLOSE)).all():
        return False
    if text_states(pa.array([lines.data], pa.binary()))[0] & (NOT_UTF8 | HAS_NUL):
        return False
    braces, brackets = data == OPEN, data == ord("[")
    if np.count_nonzero(braces) - len(lines) + np.count_nonzero(brackets) > DEEP:
        of_lines = np.searchsorted(lines.starts, np.flatnonzero(braces | brackets), side="right")
        if np.bincount(of_lines).max() > DEEP:
            return False
    digits = data[::STEP] - ord("0") < 10
    return not (digits[:-3] & digits[1:-2] & digits[2:-1] & digits[3:]).any()


def _are_plain_floats(column: pa.ChunkedArray) -> bool:
    """Whether all are numbers that Arrow and Python write alike."""
    size = pc.abs(column)
    plain = pc.or_(pc.equal(size, 0), pc.and_(pc.greater_equal(size, PLAIN_FLOATS[0]), pc.less(size, PLAIN_FLOATS[1])))
    return bool(pc.all(plain, min_count=0).as_py())
