"""`.json`: one JSON object per line (as Yelp's), or one array of objects."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.readers.base import Format, Reading, Rows, Source

if TYPE_CHECKING:
    import pyarrow as pa


def read(source: Source, reading: Reading) -> Iterator[Rows]:
    from pipeline.readers.json_records import array_or_lines, read_records

    return read_records(source, reading, array_or_lines)


def schema(source: Source, reading: Reading) -> "pa.Schema":
    from pipeline.readers.json_records import array_or_lines, sampled_schema

    return sampled_schema(source, reading, array_or_lines)


def all_columns(source: Source, reading: Reading) -> "pa.Schema":
    from pipeline.readers.json_records import all_columns, array_or_lines

    return all_columns(source, reading, array_or_lines)


FORMAT = Format(
    name="json",
    suffixes=(".json",),
    summary="JSON objects, one per line or in one array",
    open_schema=True,
    read=read,
    schema=schema,
    all_columns=all_columns,
)
