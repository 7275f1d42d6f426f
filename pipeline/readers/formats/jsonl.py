"""`.jsonl`, `.ndjson`: one JSON object per line."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.readers.base import Format, Reading, Rows, Source

if TYPE_CHECKING:
    import pyarrow as pa


def read(source: Source, reading: Reading) -> Iterator[Rows]:
    from pipeline.readers.json_records import lines, read_records

    return read_records(source, reading, lines)


def schema(source: Source, reading: Reading) -> "pa.Schema":
    from pipeline.readers.json_records import lines, sampled_schema

    return sampled_schema(source, reading, lines)


def all_columns(source: Source, reading: Reading) -> "pa.Schema":
    from pipeline.readers.json_records import all_columns, lines

    return all_columns(source, reading, lines)


FORMAT = Format(
    name="jsonl",
    suffixes=(".jsonl", ".ndjson"),
    summary="one JSON object per line",
    open_schema=True,
    read=read,
    schema=schema,
    all_columns=all_columns,
)
