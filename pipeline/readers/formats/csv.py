"""Tables of text: one record a line, as spreadsheets and databases export them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.readers.base import Format, Reading, Rows, Source

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.readers.dialect import Sniffed


def _read(source: Source, reading: Reading) -> Iterator[Rows]:
    from pipeline.readers import csv_records

    return csv_records.read(source, reading)


def _schema(source: Source, reading: Reading) -> "pa.Schema":
    from pipeline.readers import csv_records

    return csv_records.schema(source, reading)


def _sniff(source: Source, reading: Reading) -> "Sniffed":
    from pipeline.readers import csv_records

    return csv_records.dialect(source, reading)


FORMAT = Format(
    name="csv",
    suffixes=(".csv",),
    summary="a header, then one row per line; delimiter, quotation mark and encoding are detected",
    text_cells=True,
    read=_read,
    schema=_schema,
    sniff=_sniff,
)
