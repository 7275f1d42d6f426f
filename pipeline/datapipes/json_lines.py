"""Lines of JSON objects, streamed; a line that does not parse becomes a `BadRow`."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pyarrow as pa

from pipeline.datapipes.raw import BATCH_BYTES, BATCH_ROWS, EXCERPT_BYTES, Columns, Item, opened
from pipeline.datapipes.sources import Source
from pipeline.datapipes.tables import cut_batches, unreadable
from pipeline.errors import DataError
from schemas.reject import BadRow


def json_lines(source: Source, columns: Columns) -> Iterator[Item]:
    """Lines of JSON objects; blank lines are passed over.

    Raises:
        DataError: the compression is damaged, or no line has the text column.
    """
    values: dict[str, list[Any]] = {name: [] for name in columns.names()}
    rows: list[int] = []
    bad: list[BadRow] = []
    size = 0
    seen_text = False
    try:
        with opened(source.path, source.compression) as stream:
            for number, line in enumerate(chain(_lines(stream), [b"\n"])):
                if len(rows) + len(bad) >= BATCH_ROWS or size >= BATCH_BYTES:
                    yield from cut_batches(source, values, rows, columns, bad)
                    values, rows, bad, size = {name: [] for name in columns.names()}, [], [], 0
                if not line.strip():
                    continue
                size += len(line)
                try:
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise ValueError(f"a JSON {type(record).__name__} instead of an object")
                except (ValueError, RecursionError) as error:
                    reason = "invalid_utf8" if isinstance(error, UnicodeDecodeError) else "malformed_row"
                    excerpt = line[:EXCERPT_BYTES]
                    bad.append(BadRow(source=source.name, row=number, reason=reason, detail=str(error), excerpt=excerpt))
                    continue
                if columns.text not in record or not isinstance(record[columns.text], str | None):
                    found = ", ".join(record) if columns.text not in record else type(record[columns.text]).__name__
                    detail = f"no string under {columns.text!r}; found: {found[:200]}"
                    excerpt = line[:EXCERPT_BYTES]
                    bad.append(
                        BadRow(source=source.name, row=number, reason="malformed_row", detail=detail, excerpt=excerpt)
                    )
                    continue
                seen_text = True
                rows.append(number)
                for name, column in values.items():
                    column.append(_json_value(record.get(name)))
            if rows or bad:
                yield from cut_batches(source, values, rows, columns, bad)
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise unreadable(source, error) from error
    if not seen_text and (rows or bad):
        raise DataError(
            f"{source.path}: no line holds a review under {columns.text!r}. Lines are JSON objects with a string there; "
            f"first fault: {bad[0].detail if bad else 'none'}. Name the column with --text-column."
        )


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if value != value:  # NaN
        return None
    if isinstance(value, bool):
        return str(int(value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else json.dumps(value)


def _lines(stream: pa.NativeFile) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(BATCH_BYTES):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        yield from lines
    if rest:
        yield rest
