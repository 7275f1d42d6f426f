"""The source node of ingest: reads the sources in order and yields their batches."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from torchdata.nodes import BaseNode

from pipeline.datapipes.source_reader import Marked, SourceReader
from pipeline.readers.base import Reading, Source
from pipeline.readers.roles import Columns


class ReadReviews(BaseNode[Marked]):
    """Yields `RawBatch`, `TextFiles`, `TableRows` and `Groups` from the sources, in order, each source between a
    `SourceBegins` and a `SourceEnds`; see `SourceReader`.

    The state is the source's index and the number of its items yielded; a restart reads that source again up to there.
    """

    SOURCE: ClassVar[str] = "source"
    ITEM: ClassVar[str] = "item"

    def __init__(self, sources: Sequence[Source], columns: Columns, reading: Reading | None = None) -> None:
        super().__init__()
        self.sources = sources
        self.columns = columns
        self.reading = reading or Reading()

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        """Starts at the beginning, or where the state says."""
        super().reset(initial_state)
        self._reader = SourceReader(self.columns, self.reading)
        self._source = initial_state[self.SOURCE] if initial_state else 0
        self._item = 0
        self._items = self._open()
        for _ in range(initial_state[self.ITEM] if initial_state else 0):
            next(self._items)
            self._item += 1

    def next(self) -> Marked:
        """The next item."""
        while self._source < len(self.sources):
            for item in self._items:
                self._item += 1
                return item
            self._source += 1
            self._item = 0
            self._items = self._open()
        raise StopIteration

    def get_state(self) -> dict[str, Any]:
        """A new dictionary: source and item."""
        return {self.SOURCE: self._source, self.ITEM: self._item}

    def _open(self) -> Iterator[Marked]:
        return self._reader.read(self.sources[self._source]) if self._source < len(self.sources) else iter(())
