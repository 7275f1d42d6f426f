"""Source node of scoring: reads tables as bounded parts, in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torchdata.nodes import BaseNode

from pipeline.readers.tables import Item, Table


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Rows of a table, to be read and encoded by a worker."""

    table: Table
    item: Item


class ReadTables(BaseNode[Part]):
    """Yields the parts of each table.

    The state is the table's index and the number of its parts yielded; a restart reads that table again up to there.

    Args:
        columns: names of the columns to keep.

    Raises from `next`:
        FileFault: a source is damaged, or changed since it was opened.
    """

    TABLE_KEY, PART_KEY = "table", "part"

    def __init__(self, tables: Sequence[Table], columns: Sequence[str]) -> None:
        super().__init__()
        self.tables, self.columns = tables, columns
        self._place = (0, 0)
        self._parts: Iterator[Part] = iter(())

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        """Starts at the beginning, or where `initial_state` was taken."""
        super().reset(initial_state)
        state = initial_state or {}
        self._place = (state.get(self.TABLE_KEY, 0), state.get(self.PART_KEY, 0))
        self._parts = self._read(*self._place)

    def next(self) -> Part:
        return next(self._parts)

    def get_state(self) -> dict[str, Any]:
        return dict(zip((self.TABLE_KEY, self.PART_KEY), self._place, strict=True))

    def _read(self, first: int, skip: int) -> Iterator[Part]:
        for index in range(first, len(self.tables)):
            table = self.tables[index]
            for number, item in enumerate(table.items(self.columns)):
                if number >= skip:
                    self._place = (index, number + 1)
                    yield Part(table, item)
            skip = 0
