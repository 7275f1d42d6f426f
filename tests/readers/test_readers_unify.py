"""Columns of several sources as those of one table."""

import pyarrow as pa
import pytest

from pipeline.errors import DataError
from pipeline.readers.unify import TableColumns, aligned, unified


def columns(place: str, *fields: pa.Field, loose: bool = False, metadata: dict[bytes, bytes] | None = None) -> TableColumns:
    return TableColumns(place=place, schema=pa.schema(fields, metadata), loose=loose)


CASES = [
    (pa.int32(), pa.int64(), pa.int64()),
    (pa.null(), pa.list_(pa.int8()), pa.list_(pa.int8())),
    (pa.int64(), pa.float64(), pa.float64()),
    (pa.string(), pa.large_string(), pa.large_string()),
    (pa.string(), pa.string_view(), pa.large_string()),
    (pa.dictionary(pa.int8(), pa.string()), pa.string(), pa.string()),
    (pa.string(), pa.binary(), pa.large_binary()),
    (pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ns")),
    (pa.decimal128(9, 2), pa.decimal128(12, 4), pa.decimal128(12, 4)),
]


@pytest.mark.parametrize(("first", "second", "expected"), CASES)
def test_types_are_widened_in_either_order(first: pa.DataType, second: pa.DataType, expected: pa.DataType) -> None:
    for one, other in ((first, second), (second, first)):
        found = unified([columns("a", pa.field("x", one)), columns("b", pa.field("x", other))])
        assert found.field("x").type == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.int64(), pa.string()),
        (pa.bool_(), pa.int8()),
        (pa.date32(), pa.timestamp("us")),
        (pa.decimal128(9, 2), pa.float64()),
    ],
)
def test_types_that_cannot_be_one_are_named(first: pa.DataType, second: pa.DataType) -> None:
    parts = [columns("a", pa.field("y", pa.null())), columns("b", pa.field("x", first)), columns("c", pa.field("x", second))]
    with pytest.raises(DataError, match=r"^c: the column 'x' is .*, but .* in b\. .*--keep"):
        unified(parts)


def test_json_of_several_types_is_text() -> None:
    parts = [columns("a", pa.field("x", pa.int64()), loose=True), columns("b", pa.field("x", pa.string()), loose=True)]
    assert unified(parts).field("x").type == pa.string()


def test_one_source_keeps_everything_and_several_what_they_agree_on() -> None:
    field = pa.field("x", pa.int8(), nullable=False, metadata={"unit": "rows"})
    one = columns("a", field, metadata={b"owner": b"shop", b"day": b"1"})
    assert unified([one]).equals(one.schema, check_metadata=True)
    found = unified([one, columns("b", field, pa.field("y", pa.int8(), nullable=False), metadata={b"owner": b"shop"})])
    assert found.metadata == {b"owner": b"shop"}
    assert (found.field("x").nullable, found.field("y").nullable) == (False, True)
    assert unified([one, columns("b", pa.field("y", pa.int8()))]).field("x").nullable


def test_rows_are_brought_to_the_common_columns() -> None:
    schema = pa.schema([("day", pa.string()), ("x", pa.int64()), ("y", pa.large_string())])
    batch = pa.record_batch({"x": pa.array([1, None], pa.int32())})
    assert aligned(batch, schema, {"day": "monday"}).to_pylist() == [
        {"day": "monday", "x": 1, "y": None},
        {"day": "monday", "x": None, "y": None},
    ]
    with pytest.raises(pa.ArrowInvalid):
        aligned(pa.record_batch({"x": [2**60 + 1]}), pa.schema([("x", pa.float64())]), {})
