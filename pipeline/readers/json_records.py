"""JSON objects as rows: one a line, or in one array. A line that cannot be read is a fault of its own."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import meant
from pipeline.readers.base import BATCH_ROWS, EXCERPT_BYTES, FileFault, Reading, Rows, Source, check_columns
from pipeline.readers.bounds import beyond
from pipeline.readers.encoding import MARKS, UTF8
from pipeline.readers.json_lines import WHITE_SPACE, ArrowLines, Lines, line_feeds
from pipeline.readers.json_text import Kinds, looked_up, members, schema_of, text_columns
from pipeline.readers.magic import check_is_text
from pipeline.readers.opening import Stream, opened, readable
from pipeline.readers.roles import leaf_types
from pipeline.readers.values import holds_text, of_floats
from schemas.reject import BadRow

BLOCK_BYTES = 2 << 20
SAMPLE_ROWS = 1000
SAMPLE_BYTES = 4 << 20
BOM = b"\xef\xbb\xbf"

FORMS = {
    "json": "Write one JSON object per line, or one array of objects",
    "jsonl": "Write one JSON object per line; --format json reads an array of objects",
}
"""What a file of each format has to hold."""
WIDE = (*(mark for mark, name in MARKS if name != UTF8), b"{\0", b"[\0", b"\0{", b"\0[")
"""How lines in UTF-16 or UTF-32 begin, those of JSON even without a mark."""

Record = tuple[int, bytes]
"""The number of a line or of an array's item, from 0, and its bytes."""
Split = Callable[[Source, Stream], Iterator[Iterable[Record]]]
"""Cuts a stream into the bytes of objects: batches of lines, or the items of an array."""


class _Faulty(ValueError):
    """A record that is not a row. `reason` is one of `schemas.reject.REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _TextlessError(_Faulty):
    """An object without a string where the text is looked for."""

    def __init__(self, detail: str) -> None:
        super().__init__("malformed_row", detail)


def read_records(source: Source, reading: Reading, split: Split) -> Iterator[Rows]:
    """Rows of a file of JSON objects.

    Args:
        split: `lines` or `array_or_lines`.

    Raises:
        FileFault: the file is damaged, or no object in it has the text columns.
    """
    batch = _Batch(source, reading)
    arrow = ArrowLines(reading)
    seen = False
    with readable(source), opened(source.path, source.compression, reading.bounds) as stream:
        for records in split(source, stream):
            if isinstance(records, Lines) and (table := arrow.table(records)) is not None:
                seen = True
                yield Rows(table=table, row=records.numbers)
                continue
            for number, content in records:
                seen |= batch.take(number, content)
                if batch.is_full():
                    arrow.learn(batch.records)
                    yield batch.rows()
                    batch = _Batch(source, reading, batch.first_fault)
        if not batch.is_empty():
            yield batch.rows()
    if not seen and batch.first_fault is not None:
        if isinstance(batch.first_fault, _TextlessError):
            raise _textless(source, reading, split, f"; the first fault: {batch.first_fault}")
        detail = f"no object can be read; the first fault: {batch.first_fault}. {FORMS.get(source.format, '')}"
        raise FileFault(source.name, "damaged", detail)


def sampled_schema(source: Source, reading: Reading, split: Split) -> pa.Schema:
    """Columns and types of the first objects; a column whose values are of several types is string."""
    columns: dict[str, list[Any]] = {}
    size = rows = 0
    with readable(source), opened(source.path, source.compression, reading.bounds) as stream:
        for _, content in chain.from_iterable(split(source, stream)):
            try:
                record = _parsed(content)
            except _Faulty:
                continue
            for name, value in record.items():
                columns.setdefault(name, [None] * rows).append(value)
            check_columns(source, len(columns), reading.bounds)
            rows += 1
            for values in columns.values():
                values += [None] * (rows - len(values))
            size += len(content)
            if rows >= SAMPLE_ROWS or size >= SAMPLE_BYTES:
                break
    types = {name: _column(values, structs=True).type for name, values in columns.items() if _is_utf8(name)}
    return pa.schema([pa.field(name, kind) for name, kind in types.items()])


def all_columns(source: Source, reading: Reading, split: Split) -> pa.Schema:
    """Columns and types of all objects of a file, which is read whole; see `Kinds` for the types.

    Raises:
        FileFault: the file is damaged, or no object in it has the text columns.
    """
    columns: dict[str, Kinds] = {}
    has_text = not reading.text
    with readable(source), opened(source.path, source.compression, reading.bounds) as stream:
        for _, content in chain.from_iterable(split(source, stream)):
            try:
                record = _parsed(content)
            except _Faulty:
                continue
            for name, value in record.items():
                if name not in columns and _is_utf8(name):
                    columns[name] = Kinds()
                if name in columns:
                    columns[name].add(value)
            check_columns(source, len(columns), reading.bounds)
            has_text = has_text or any(looked_up(record, name)[0] for name in reading.text)
    if columns and not has_text:
        raise _textless(source, reading, split)
    return schema_of(columns)


def _textless(source: Source, reading: Reading, split: Split, cause: str = "") -> FileFault:
    """The fault of a file without the text columns. It lists where the first objects have text, also inside others."""
    kinds = leaf_types(sampled_schema(source, reading, split))
    names = [name for name, kind in kinds.items() if holds_text(kind)]
    wanted = ", ".join(map(repr, reading.text))
    if not names:
        return FileFault(source.name, "column", f"no object has text under {wanted}{cause}. No other field has text")
    hint = "".join(meant(name, names) for name in reading.text[:1])
    others = f"Fields with text: {', '.join(map(repr, names))}. Choose one with --text-column"
    return FileFault(source.name, "column", f"no object has text under {wanted}{cause}.{hint} {others}")


def lines(source: Source, stream: Stream, start: bytes = b"") -> Iterator[Iterable[Record]]:
    """Lines that are not blank, in batches, behind `start`."""
    rest, first = b"", 0
    for data in whole_lines(source, stream, start):
        data = rest + data
        found = Lines.of(data, first)
        taken = 0
        for batch in found.batches(stream.bounds.batch):
            yield batch
            taken += len(batch)
        if taken < len(found):
            rest, first = data[int(found.starts[taken]) :], int(found.numbers[taken])
        else:
            rest, first = b"", first + line_feeds(data)
    if rest:
        yield Lines.of(rest, first)


def array_or_lines(source: Source, stream: Stream) -> Iterator[Iterable[Record]]:
    """The items of one array where the file begins with a bracket, else lines.

    A file of lines may begin with a bracket only by mistake: its lines have to be objects.
    """
    start = bytes(stream.read(BLOCK_BYTES)).removeprefix(BOM)
    while start and not start.strip(WHITE_SPACE) and (block := bytes(stream.read(BLOCK_BYTES))):
        start += block
    if start.lstrip(WHITE_SPACE).startswith(b"["):
        yield _items(source, stream, start)
    else:
        yield from lines(source, stream, start)


class _Batch:
    """Rows and faults that are not yet handed on."""

    def __init__(self, source: Source, reading: Reading, first_fault: _Faulty | None = None) -> None:
        self.source, self.reading = source, reading
        self.first_fault = first_fault
        self.records: list[dict[str, Any]] = []
        self.numbers: list[int] = []
        self.bad: list[BadRow] = []
        self.size = 0

    def take(self, number: int, content: bytes) -> bool:
        """Takes one object; whether it is a row that has a text."""
        self.size += len(content)
        try:
            record = _parsed(content)
            if self.reading.json_text:
                has_text = self._check_texts(record)
                record = members(_decoded(content))
            else:
                record, has_text = self._row(record), True
        except _Faulty as fault:
            first = self.first_fault
            if first is None or (isinstance(fault, _TextlessError) and not isinstance(first, _TextlessError)):
                self.first_fault = fault  # sound objects with another name for the text say more than a broken line
            excerpt = content[:EXCERPT_BYTES]
            bad = BadRow(source=self.source.name, row=number, reason=fault.reason, detail=str(fault), excerpt=excerpt)
            self.bad.append(bad)
            return False
        self.records.append(record)
        self.numbers.append(number)
        return has_text

    def is_full(self) -> bool:
        return len(self.records) + len(self.bad) >= BATCH_ROWS or self.size >= self.reading.bounds.batch

    def is_empty(self) -> bool:
        return not self.records and not self.bad

    def rows(self) -> Rows:
        names = self.reading.columns
        if names is None:
            names = tuple(dict.fromkeys(name for record in self.records for name in record if _is_utf8(name)))
        if self.reading.json_text:
            table = text_columns(self.records, names)
            return Rows(table=table, row=np.array(self.numbers, np.int64), bad=self.bad)
        columns = [_column([record.get(name) for record in self.records], rule=self.reading.rule) for name in names]
        table = pa.RecordBatch.from_arrays(columns, names=list(names))
        if not names:
            table = pa.RecordBatch.from_struct_array(pa.array([{}] * len(self.records), pa.struct([])))
        return Rows(table=table, row=np.array(self.numbers, np.int64), bad=self.bad)

    def _check_texts(self, record: dict[str, Any]) -> bool:
        """Whether an object has one of the texts.

        Raises:
            _Faulty: what stands there is not a string.
        """
        found = [looked_up(record, name) for name in self.reading.text]
        for name, (_, value) in zip(self.reading.text, found, strict=True):
            if not isinstance(value, str | None):
                raise _TextlessError(f"no string under {name!r}; found: {type(value).__name__}")
        return not found or any(present for present, _ in found)

    def _row(self, record: dict[str, Any]) -> dict[str, Any]:
        """The wanted values of an object.

        Raises:
            _Faulty: the text is missing, not a string, or a value is nested where one value is needed.
        """
        if self.reading.columns is None:
            return record
        found: dict[str, Any] = {}
        texts = 0
        for name in self.reading.columns:
            present, value = looked_up(record, name)
            if name in self.reading.text:
                texts += present
                if not isinstance(value, str | None):
                    raise _TextlessError(f"no string under {name!r}; found: {type(value).__name__}")
            elif isinstance(value, list | dict) and not self.reading.keep_nested:
                kind = "a list" if isinstance(value, list) else "an object"
                raise _Faulty("nested_value", f"{name!r} contains {kind}; expected one value")
            found[name] = value
        if self.reading.text and not texts:
            wanted = ", ".join(map(repr, self.reading.text))
            raise _TextlessError(f"no string under {wanted}; found: {', '.join(record)[:200] or 'nothing'}")
        return found


def _decoded(content: bytes) -> str:
    """The text of an object that was parsed.

    Raises:
        _Faulty: it holds bytes that have no UTF-8 form.
    """
    content = content.removeprefix(BOM)
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise _Faulty("invalid_utf8", str(error)) from error


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        record = json.loads(content.removeprefix(BOM))
    except UnicodeDecodeError as error:
        raise _Faulty("invalid_utf8", str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _Faulty("malformed_row", str(error)) from error
    if not isinstance(record, dict):
        raise _Faulty("malformed_row", f"a JSON {type(record).__name__} instead of an object")
    return record


def _column(values: list[Any], *, structs: bool = False, rule: int | None = None) -> pa.Array:
    """Values as a column of the one type that they have; as text where they have several, JSON text where they nest.

    Floats among other values are written as a column of floats alone is, except by version 1 of the rule for values.
    """
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {str}:
        return pa.array([None if v is None else v.encode("utf-8", "surrogatepass") for v in values], pa.binary()).view(
            pa.string()
        )
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds <= {int, float} and (float not in kinds or int not in kinds):
        try:
            return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
        except (OverflowError, pa.ArrowInvalid):
            pass
    if structs and kinds == {dict}:
        return pa.StructArray.from_arrays(*_fields(values))
    if float in kinds and rule != 1:
        floats = iter(of_floats(pa.array([value for value in values if isinstance(value, float)], pa.float64())))
        values = [next(floats) if isinstance(value, float) else value for value in values]
    texts = [v if isinstance(v, str | None) else json.dumps(v, ensure_ascii=False) for v in values]
    return _column(texts)


def _is_utf8(name: str) -> bool:
    """Whether a name has a UTF-8 form; a lone surrogate from an escape has none."""
    return name.isprintable() or name.encode("utf-8", "replace").decode() == name


def _fields(values: list[Any]) -> tuple[list[pa.Array], list[str]]:
    names = list(dict.fromkeys(name for value in values for name in value or () if _is_utf8(name)))
    return [_column([(value or {}).get(name) for value in values], structs=True) for name in names], names


def every_line(source: Source, stream: Stream) -> Iterator[bytes]:
    """Every line without its line feed; blank ones too.

    Raises:
        FileFault: the file is not UTF-8, or a line is too long to be held.
    """
    for data in whole_lines(source, stream):
        yield from data.removesuffix(b"\n").split(b"\n")


def whole_lines(source: Source, stream: Stream, start: bytes = b"") -> Iterator[bytes]:
    """Consecutive parts of a file, each of whole lines with their line feeds, behind `start`; the last one may lack one.

    Raises:
        FileFault: the file is not UTF-8, or a line is too long to be held.
    """
    limit = stream.bounds.other_row
    parts: list[bytes] = [start] if start else []
    held = len(start)
    number = 0
    begun = False
    while True:
        block = bytes(stream.read(BLOCK_BYTES))
        if not begun:
            _check_encoding(source, start + block)
        begun = True
        if block and b"\n" not in block:
            parts.append(block)
            held += len(block)
            if held > limit:
                raise _too_large(source, f"line {number + 1:,}", limit)
            continue
        data = b"".join([*parts, block])
        end = data.rfind(b"\n") + 1 if block else len(data)
        _check_lengths(source, data, number, limit)
        if end:
            yield data[:end]
        if not block:
            return
        number += line_feeds(data)
        parts, held = ([data[end:]] if end < len(data) else []), len(data) - end


def _check_lengths(source: Source, data: bytes, number: int, limit: int) -> None:
    if len(data) <= limit:
        return
    for index, line in enumerate(data.split(b"\n")):
        if len(line) > limit:
            raise _too_large(source, f"line {number + index + 1:,}", limit)


def _check_encoding(source: Source, start: bytes) -> None:
    check_is_text(source, start)
    if start.startswith(WIDE):
        detail = "is UTF-16 or UTF-32. Save it as UTF-8, as with iconv -f UTF-16 -t UTF-8"
        raise FileFault(source.name, "damaged", detail)


def _items(source: Source, stream: Stream, start: bytes) -> Iterator[Record]:
    """The items of an array, each as its bytes.

    Raises:
        FileFault: what is between the items is not JSON, or the array does not end.
    """
    limit = stream.bounds.other_row
    window = _Window(stream, start)
    window.skip_blanks()
    window.place += 1  # the opening bracket
    number = 0
    while number or window.peek() != "]":
        if (item := window.item()) is not None and len(item) <= limit:
            yield number, item
            number += 1
        elif item is not None or len(window.text) - window.place > limit:
            raise _too_large(source, f"item {number:,} of the array", limit)
        elif window.ended:
            detail = f"item {number:,} of the array is not complete JSON; the file is truncated or damaged. Get a new copy"
            raise FileFault(source.name, "damaged", detail)
        else:
            window.fill()
            continue
        mark = window.mark()
        if mark == "]":
            break
        if mark != ",":
            detail = f"item {number - 1:,} of the array is followed by {mark!r}, not by a comma or the end of the array"
            raise FileFault(source.name, "damaged", detail)
    else:
        window.mark()
    if not window.rest_is_blank():
        raise FileFault(source.name, "damaged", "unexpected data after the end of the array")


class _Window:
    """A part of a stream as text, in which items are decoded one after the other."""

    def __init__(self, stream: Stream, start: bytes) -> None:
        self.stream = stream
        self.text, self.place = "", 0
        self.pending = start
        self.ended = False
        self.fill()

    def fill(self) -> None:
        """Reads on, at least as much as is undecoded, so that a long item is not scanned over and over."""
        left = len(self.text) - self.place
        block = bytes(self.stream.read(max(BLOCK_BYTES, left)))
        self.ended = not block
        content = self.pending + block
        cut = len(content) if self.ended else _whole_characters(content)
        self.pending = content[cut:]
        self.text = self.text[self.place :] + content[:cut].decode("utf-8", "surrogateescape")
        self.place = 0

    def skip_blanks(self) -> None:
        while self.place < len(self.text) and self.text[self.place] in " \t\r\n":
            self.place += 1

    def item(self) -> bytes | None:
        """The item that begins here; None where more has to be read, or it is not JSON."""
        self.skip_blanks()
        try:
            end = json.JSONDecoder().raw_decode(self.text, self.place)[1]
        except (ValueError, RecursionError):
            return None
        if end == len(self.text) and not self.ended:
            return None  # a number may go on
        item = self.text[self.place : end].encode("utf-8", "surrogateescape")
        self.place = end
        return item

    def peek(self) -> str:
        """The next character that is not blank; "" at the end of the file."""
        self.skip_blanks()
        while self.place == len(self.text) and not self.ended:
            self.fill()
            self.skip_blanks()
        return self.text[self.place : self.place + 1]

    def mark(self) -> str:
        """Takes the next character that is not blank."""
        found = self.peek()
        self.place += 1
        return found

    def rest_is_blank(self) -> bool:
        while not self.ended:
            if self.text[self.place :].strip():
                return False
            self.place = len(self.text)
            self.fill()
        return not self.text[self.place :].strip()


def _whole_characters(block: bytes) -> int:
    """Where the last character of UTF-8 that may be cut begins."""
    for back in range(1, min(4, len(block)) + 1):
        if block[-back] & 0xC0 != 0x80:
            needed = 1 if block[-back] < 0x80 else 2 if block[-back] < 0xE0 else 3 if block[-back] < 0xF0 else 4
            return len(block) - back if needed > back else len(block)
    return len(block)


def _too_large(source: Source, what: str, limit: int) -> FileFault:
    return FileFault(source.name, "too_large", beyond(what, "--max-row-bytes", limit))
