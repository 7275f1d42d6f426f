"""Reads one source after another: their batches between marks. What `ReadReviews` and the tasks of a cluster have in common;
without torchdata, whose import takes longer than many a task."""

import logging
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.progress import AS_IT_IS, BRIEF, ONCE
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


Marked = Item | SourceBegins | SourceEnds
"""What flows out of a source, with the marks around it."""


class SourceReader:
    """Reads sources one after another. It remembers what it has warned of, and which folders lack their list of films.

    Args:
        reading: the dialect of tables, and the limits.
    """

    def __init__(self, columns: Columns, reading: Reading) -> None:
        self.columns, self.reading = columns, reading
        self._warned: set[tuple[str, ...]] = set()
        self._without_groups: set[str] = set()

    def read(self, source: Source) -> Iterator[Marked]:
        """Yields `RawBatch`, `TextFiles`, `TableRows` and `Groups` between a `SourceBegins` and a `SourceEnds`."""
        return self._texts(source) if source.format == "txt" else self._whole(source)

    def _texts(self, source: Source) -> Iterator[Marked]:
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

    def _whole(self, source: Source) -> Iterator[Marked]:
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
        if self.columns.optional_label and self.columns.target is None and self.columns.label not in names:
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
            extra={BRIEF: f"{source.name} has no column of labels, so its reviews count as unlabelled", ONCE: repr(names)},
        )


def _rows_in(item: Item) -> int:
    if isinstance(item, RawBatch):
        return len(item.row) + len(item.bad)
    if isinstance(item, TableRows):
        return len(item.rows.row) + len(item.rows.bad)
    return 0
