"""The source node of ingest: reads the sources in order and yields their batches."""

import logging
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torchdata.nodes import BaseNode

from pipeline.progress import AS_IT_IS, BRIEF
from pipeline.readers.base import FileFault, Reading, Source
from pipeline.readers.opening import fault_of, stamp
from pipeline.readers.registry import format_named
from pipeline.readers.reviews import Groups, Item, RawBatch, TableRows, TextFiles, batches_of
from pipeline.readers.roles import Columns, leaf_types, near_label, resolve

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceBegins:
    """Marks the beginning of a source. If the source turns out to be faulty, all of its rows are rolled back."""

    name: str


@dataclass(frozen=True, slots=True)
class SourceEnds:
    """Marks the end of a source with its number of rows, including faulty ones; with a `fault`, the source is skipped."""

    name: str
    rows: int
    fault: FileFault | None = None


class ReadReviews(BaseNode["Item | SourceBegins | SourceEnds"]):
    """Yields `RawBatch`, `TextFiles`, `TableRows` and `Groups` from the sources, in order, each source between a
    `SourceBegins` and a `SourceEnds`.

    The state is the source's index and the number of its items yielded; a restart reads that source again up to there.

    Args:
        dialect, label: see `Reading`.
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
        self._warned: set[tuple[str, ...]] = set()
        self._without_groups: set[str] = set()
        self._source = initial_state[self.SOURCE] if initial_state else 0
        self._item = 0
        self._items = self._open()
        for _ in range(initial_state[self.ITEM] if initial_state else 0):
            next(self._items)
            self._item += 1

    def next(self) -> "Item | SourceBegins | SourceEnds":
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

    def _open(self) -> Iterator["Item | SourceBegins | SourceEnds"]:
        if self._source >= len(self.sources):
            return iter(())
        source = self.sources[self._source]
        return self._texts(source) if source.format == "txt" else self._whole(source)

    def _texts(self, source: Source) -> Iterator["Item | SourceBegins | SourceEnds"]:
        """A folder of reviews in files of their own: a fault in one does not affect the others."""
        reviews = format_named("txt").reviews
        assert reviews is not None
        rows = 0
        yield SourceBegins(source.name)
        told = self._told(source)
        for item in reviews(source, self.reading):
            if isinstance(item, Groups) and item.fault is not None:
                text = "%s: skipping its reviews until their film list can be read"
                log.warning(text, item.folder, extra=AS_IT_IS)
                self._without_groups.add(item.folder)
            if isinstance(item, TextFiles):
                if item.name in self._without_groups:
                    continue
                rows += len(item.files)
                item = replace(item, told=told) if told else item
            yield item
        yield SourceEnds(source.name, rows)

    def _whole(self, source: Source) -> Iterator["Item | SourceBegins | SourceEnds"]:
        """A file that is read completely or skipped."""
        rows = 0
        yield SourceBegins(source.name)
        try:
            before = source.stamp or stamp(source.path)
            for item in self._items_of(source):
                rows += _rows_in(item)
                yield item
            if stamp(source.path) != before:
                detail = "the file changed while being read. Write it under another name and rename it once it is complete"
                raise FileFault(source.name, "changed", detail)
        except FileFault as fault:
            yield SourceEnds(source.name, rows, fault)
            return
        except (OSError, MemoryError) as error:
            yield SourceEnds(source.name, rows, fault_of(source.name, source.format, source.compression, error))
            return
        yield SourceEnds(source.name, rows)

    def _items_of(self, source: Source) -> Iterator[Item]:
        kind = format_named(source.format)
        if kind.reviews is not None:
            yield from kind.reviews(source, self.reading)
            return
        assert kind.read is not None and kind.schema is not None
        schema = kind.schema(source, self.reading)
        if not len(schema) and not kind.open_schema:
            return  # an empty file, not even with a header
        columns = resolve(source, kind, schema, self.columns)
        names = (*leaf_types(schema), *columns.partitions)
        if self.columns.optional_label and self.columns.label not in names:
            self._warn_of_label(source, names)
        reading = replace(self.reading, columns=columns.columns(), text=columns.text, label=columns.label)
        for rows in kind.read(source, reading):
            yield from batches_of(source, rows, columns, self.reading.bounds)

    def _told(self, source: Source) -> dict[str, str | None]:
        """Label, split and group from the source's partitions."""
        partitions = dict(source.partitions)
        roles = {"label": self.columns.label, "split": self.columns.split, "group": self.columns.group}
        return {role: partitions[name] for role, name in roles.items() if name is not None and name in partitions}

    def _warn_of_label(self, source: Source, names: tuple[str, ...]) -> None:
        near = near_label(names)
        if near is None or names in self._warned:
            return
        self._warned.add(names)
        log.warning(
            "%s has no column %r, so its reviews count as unlabelled; if %r has the labels, pass --label-column %s",
            source.name,
            self.columns.label,
            near,
            shlex.quote(near),
            extra={BRIEF: f"{source.name} has no column of labels, so its reviews count as unlabelled"},
        )


def _rows_in(item: Item) -> int:
    if isinstance(item, RawBatch):
        return len(item.row) + len(item.bad)
    if isinstance(item, TableRows):
        return len(item.rows.row) + len(item.rows.bad)
    return 0
