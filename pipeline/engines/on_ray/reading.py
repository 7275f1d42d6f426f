"""Reads sources in tasks, and cuts what they hold into chunks: a chunk is worth a task of its own."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from pipeline.engines.on_ray.cluster import Unseen, unseen
from pipeline.lake.store import StoreMissingError, divided, open_store
from pipeline.readers.base import Rows, Source, Stamp
from pipeline.readers.opening import stamp
from pipeline.readers.reviews import RawBatch, TableRows, TextFiles
from pipeline.readers.zip_members import table_in

CHUNK_BYTES = 8 << 20
CHUNK_BATCHES = 16
"""A chunk ends after as many bytes of rows, or batches."""
MARK_BYTES = 512
"""What an item without rows counts for."""

X = TypeVar("X")
T = TypeVar("T")


def chunked(items: Iterable[X], rows_of: Callable[[X], object] = lambda item: item) -> Iterator[list[X]]:
    """Gathers items, whatever their source.

    Args:
        rows_of: what the reader gave for an item.
    """
    chunk: list[X] = []
    size = batches = 0
    for item in items:
        found = _bytes_of(rows_of(item))
        chunk.append(item)
        size, batches = size + (found or MARK_BYTES), batches + bool(found)
        if size >= CHUNK_BYTES or batches >= CHUNK_BATCHES:
            yield chunk
            chunk, size, batches = [], 0, 0
    if chunk:
        yield chunk


def gathered(things: Sequence[tuple[T, int | None]]) -> Iterator[list[T]]:
    """Gathers small sources, which are then read by one task.

    Args:
        things: each with its size in bytes, None where it is not known or is to be alone.
    """
    group: list[T] = []
    size = 0
    for thing, own in things:
        if group and (own is None or size + own > CHUNK_BYTES):
            yield group
            group, size = [], 0
        group.append(thing)
        size += CHUNK_BYTES + 1 if own is None else own
    if group:
        yield group


@dataclass(frozen=True, slots=True)
class InStore:
    """A source that is an object of a store. The task that reads it fetches it, wherever it runs."""

    source: Source
    uri: str


@contextmanager
def brought(sent: Source | InStore) -> Iterator[tuple[Source, Unseen | None]]:
    """The source as it is on this machine, for the block, and what is to be reported if it is not visible.

    Devices and inodes have other numbers on other machines, so its stamp is made again here, unless the file is another one
    by its size or time.

    Raises:
        StorageUnavailableError: the store does not answer, or refuses.
    """
    if isinstance(sent, InStore):
        with _fetched(sent) as source:
            yield source, None
    elif (missing := unseen(sent.path)) is not None:
        yield sent, missing
    else:
        yield (sent if sent.stamp is None else replace(sent, stamp=stamp_here(sent, sent.stamp))), None


@contextmanager
def _fetched(sent: InStore) -> Iterator[Source]:
    bucket, name = divided(sent.uri)
    with tempfile.TemporaryDirectory(prefix="pipeline-source-") as folder:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        source = replace(sent.source, path=path)
        with suppress(StoreMissingError):  # whoever opens it says that it is gone
            open_store(bucket).fetch(name, path)
            if source.format == "zip" and (table := table_in(path)):
                source = replace(source, format=table.name, compression="zip")
        yield source


def stamp_here(source: Source, found: Stamp) -> Stamp:
    """The stamp of a source on this machine where it is the same file, else the one that it had."""
    try:
        here = stamp(source.path)
    except OSError:
        return found  # whoever opens it says what is wrong with it
    return here if (here.size, here.modified) == (found.size, found.modified) else found


def compact(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows without those around them: pickle sends all of a buffer of which rows are a slice."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_batch(rows)
    return pa.ipc.open_stream(sink.getvalue()).read_next_batch()


def _bytes_of(item: object) -> int:
    """Bytes of the rows of an item, about; 0 if it has none."""
    if isinstance(item, TextFiles):
        return CHUNK_BYTES // 8
    if isinstance(item, TableRows):
        return int(item.rows.table.nbytes) + 1
    if isinstance(item, Rows):
        return int(item.table.nbytes) + 1
    if isinstance(item, RawBatch):
        return int(item.text.nbytes) + 1
    return 0
