"""Source of scoring: reads tables as bounded parts, in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.readers.tables import Item, Table


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Rows of a table, to be read and encoded by a worker."""

    table: Table
    item: Item


def read_parts(tables: Sequence[Table], columns: Sequence[str]) -> Iterator[Part]:
    """Yields the parts of each table.

    Args:
        columns: names of the columns to keep.

    Raises:
        FileFault: a source is damaged, or changed since it was opened.
    """
    for table in tables:
        for item in table.items(columns):
            yield Part(table, item)
