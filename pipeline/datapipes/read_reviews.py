"""The source node of ingest: walks the sources in order and yields their batches."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from torchdata.nodes import BaseNode

from pipeline.datapipes.archives import archive
from pipeline.datapipes.csv_rows import csv_rows
from pipeline.datapipes.json_lines import json_lines
from pipeline.datapipes.parquet_rows import parquet_rows
from pipeline.datapipes.raw import Columns, Item
from pipeline.datapipes.sources import ARCHIVE, CSV, JSONL, PARQUET, TEXTS, TSV, Source
from pipeline.datapipes.text_files import text_folder
from pipeline.errors import DataError


class ReadReviews(BaseNode[Item]):
    """Yields `RawBatch`, `TextFiles` and `Groups` from the sources, in their order.

    The state is the source's place and the number of items
    taken from it; a restart reads that source anew up to there.
    """

    SOURCE: ClassVar[str] = "source"
    ITEM: ClassVar[str] = "item"

    def __init__(self, sources: Sequence[Source], columns: Columns) -> None:
        super().__init__()
        self.sources = sources
        self.columns = columns

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        """Starts at the beginning, or where the state says."""
        super().reset(initial_state)
        self._source = initial_state[self.SOURCE] if initial_state else 0
        self._item = 0
        self._items: Iterator[Item] = self._open()
        for _ in range(initial_state[self.ITEM] if initial_state else 0):
            next(self._items)
            self._item += 1

    def next(self) -> Item:
        """The next item.

        Raises:
            DataError: a source cannot be read.
        """
        while self._source < len(self.sources):
            for item in self._items:
                self._item += 1
                return item
            self._source += 1
            self._item = 0
            self._items = self._open()
        raise StopIteration

    def get_state(self) -> dict[str, Any]:
        """A fresh dictionary: source and item."""
        return {self.SOURCE: self._source, self.ITEM: self._item}

    def _open(self) -> Iterator[Item]:
        if self._source >= len(self.sources):
            return iter(())
        source = self.sources[self._source]
        if source.kind == TEXTS:
            return text_folder(source)
        if source.kind == ARCHIVE:
            return archive(source)
        if source.kind in (CSV, TSV):
            return csv_rows(source, self.columns)
        if source.kind == JSONL:
            return json_lines(source, self.columns)
        if source.kind == PARQUET:
            return parquet_rows(source, self.columns)
        raise DataError(f"{source.path}: no reader for {source.kind}")
