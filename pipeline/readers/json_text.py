"""The members of JSON objects as their own JSON text: numbers and nested values stay as they were written."""

import json
from collections.abc import Sequence
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]  # not in its stubs
from typing import Any

import pyarrow as pa

from pipeline.readers.structs import home
from pipeline.text.types import is_text

BLANKS = " \t\r\n"
_value_at = JSONDecoder().scan_once  # type: ignore[attr-defined]  # not in its stubs


def members(text: str) -> dict[str, str]:
    """The JSON text of each member of an object; of a name that comes twice, the last.

    Args:
        text: an object that `json.loads` has accepted.
    """
    found: dict[str, str] = {}
    place = _skip(text, text.index("{") + 1)
    while text[place] != "}":
        name, place = scanstring(text, place + 1, True)
        start = _skip(text, _skip(text, place) + 1)
        place = _value_at(text, start)[1]
        found[name] = text[start:place]
        place = _skip(text, place)
        if text[place] == ",":
            place = _skip(text, place + 1)
    return found


def values_of(column: pa.StringArray) -> list[Any]:
    """JSON texts as Python values; None for null and for `null`."""
    return list(json.loads("[" + ",".join([text or "null" for text in column.to_pylist()]) + "]"))


def typed(column: pa.StringArray, kind: pa.DataType) -> pa.Array:
    """JSON texts as a column of one type: strings decoded, what is nested or of several types as JSON text.

    Raises:
        ArrowInvalid: a value is not of that type.
    """
    values = values_of(column)
    if not is_text(kind):
        return pa.array(values, kind)
    texts = [
        value if isinstance(value, str | None) else text for value, text in zip(values, column.to_pylist(), strict=True)
    ]
    return pa.array([text if text is None else text.encode("utf-8", "replace") for text in texts], pa.binary()).cast(kind)


def text_of(batch: pa.RecordBatch, name: str) -> pa.BinaryArray:
    """The strings under a name, which may be that of a field (`review.body`); null for whatever is no string."""
    top, path = home(batch.schema, name)
    if top not in batch.schema.names:
        return pa.nulls(len(batch), pa.binary())
    values = values_of(batch[top])
    if path:
        values = [looked_up(value, ".".join(path))[1] if isinstance(value, dict) else None for value in values]
    texts = [value.encode("utf-8", "surrogatepass") if isinstance(value, str) else None for value in values]
    return pa.array(texts, pa.binary())


def looked_up(record: dict[str, Any], name: str) -> tuple[bool, Any]:
    """Whether there is a value under a name, and the value; `review.body` is a field of the object `review`."""
    if name in record:
        return True, record[name]
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        inner = record.get(".".join(parts[:length]))
        if isinstance(inner, dict):
            return looked_up(inner, ".".join(parts[length:]))
    return False, None


class Kinds:
    """The types of a column's values, as they are met, and the one type that holds them all."""

    EXACT = 1 << 53
    """Integers up to here have a float of their own."""

    def __init__(self) -> None:
        self.types: set[type] = set()
        self.largest = 0

    def add(self, value: Any) -> None:
        """Takes a value of a JSON object."""
        kind = type(value)
        self.types.add(kind)
        if kind is int and abs(value) > self.largest:
            self.largest = abs(value)

    def common(self) -> pa.DataType:
        """bool, int64 or float64 where all values are such; null where all are null; else string."""
        kinds: set[type] = self.types - {type(None)}
        if not kinds:
            return pa.null()
        if kinds == {bool}:
            return pa.bool_()
        if kinds == {int} and self.largest < 1 << 63:
            return pa.int64()
        if kinds <= {int, float} and self.largest <= self.EXACT:
            return pa.float64()
        return pa.string()


def schema_of(columns: dict[str, Kinds]) -> pa.Schema:
    """The columns that were met, in the order in which they were."""
    return pa.schema([(name, kinds.common()) for name, kinds in columns.items()])


def text_columns(records: Sequence[dict[str, str]], names: Sequence[str]) -> pa.RecordBatch:
    """Members of objects as columns of JSON text; null where an object lacks one."""
    columns = [pa.array([record.get(name) for record in records], pa.string()) for name in names]
    if not columns:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(records), pa.struct([])))
    return pa.RecordBatch.from_arrays(columns, names=list(names))


def _skip(text: str, place: int) -> int:
    while text[place] in BLANKS:
        place += 1
    return place
