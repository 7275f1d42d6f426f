"""Which reviews the table holds, looked up in `.index/` instead of in every shard.

The index is derived from the shards and nothing else. A shard's name contains the digest of its content, so what a file of
the index says of a shard stays true; it is used as long as the table lists that shard and the file on the disk has the
size and time that it had when it was read. Shards that no file covers are read when a run starts, so lakes without an
index, or with a damaged one, only take longer.

Files are never changed. Small ones are merged into larger ones, as in a log-structured merge-tree: each review is written
again about once for each doubling of the table. A killed run leaves files that cover a shard twice; the larger one counts,
and the next run removes what is not needed.
"""

import logging
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake import table as token_table
from pipeline.lake.index_file import (
    SECTIONS,
    SUFFIX,
    DamagedIndexError,
    IndexFile,
    Records,
    write_index_file,
)
from pipeline.lake.known import OTHER, SAME, Keys, contents_of, keys_of
from pipeline.lake.leftovers import remove
from pipeline.lake.missing import homes_of
from pipeline.lake.noted import NotedShard
from pipeline.lake.paths import Lake
from pipeline.lake.shards import Shard, open_shard

log = logging.getLogger(__name__)

GROUP_ROWS = 1 << 20
"""Rows of the shards that are read into one file of the index: 32 bytes each are in memory."""
MERGED_RECORDS = 1 << 16
"""Records that a merge has in memory at a time, about."""


class IndexFiles:
    """The files of a lake's index that can be read; to be closed."""

    def __init__(self, lake: Lake) -> None:
        self.folder, self.tokens = lake.index, lake.tokens
        self.files: list[IndexFile] = []
        self.damaged: list[Path] = []
        for path in sorted(self.folder.glob(f"[!.]*{SUFFIX}")):
            try:
                self.files.append(IndexFile(path, self.tokens))
            except DamagedIndexError:
                self.damaged.append(path)
        self.files.sort(key=lambda file: (-sum(noted.shard.rows for noted in file.shards), file.path.name))

    @property
    def noted(self) -> list[NotedShard]:
        """The shards that the files cover."""
        return [noted for file in self.files for noted in file.shards]

    def __enter__(self) -> "IndexFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self.files:
            file.close()


@dataclass(frozen=True, slots=True)
class _Part:
    """A file, and which of its shards count."""

    file: IndexFile
    live: npt.NDArray[np.bool_]

    @property
    def shards(self) -> list[NotedShard]:
        """The shards that count."""
        return [noted for noted, live in zip(self.file.shards, self.live.tolist(), strict=True) if live]

    @property
    def rows(self) -> int:
        """Rows of the shards that count."""
        return sum(noted.shard.rows for noted in self.shards)

    @property
    def is_mostly_dead(self) -> bool:
        """Whether most rows are of shards that do not count."""
        return 2 * self.rows < sum(noted.shard.rows for noted in self.file.shards)

    def find(self, section: str, keys: Keys) -> tuple[npt.NDArray[np.int64], Records]:
        """As `Section.find`, without records of shards that do not count."""
        places, records = self.file.sections[section].find(keys)
        live = self.live[records["shard"]]
        return places[live], records[live]


class TableIndex:
    """The reviews of some shards. Look-ups may come from several threads.

    Args:
        files: the lake's index, which the caller closes.
        scratch: where missing files are written instead of into the index, which then stays as it is.
    """

    def __init__(self, files: IndexFiles, shards: Sequence[Shard], *, scratch: Path | None = None) -> None:
        """Reads the shards that the index lacks, and tidies up the index.

        Raises:
            DataError: a shard is damaged.
            CannotWriteError: no permission, no space.
        """
        self.shards = shards
        self._opened, self._tokens = files.files, files.tokens
        self._folder = scratch or files.folder
        self._lock = threading.RLock()
        wanted = {noted.identity: noted for noted in map(NotedShard.of, shards)}
        parts = []
        for file in files.files:
            live = [wanted.pop(noted.identity, None) is not None for noted in file.shards]
            parts.append(_Part(file, np.array(live, np.bool_)))
        self._parts = tuple(parts)
        for path in files.damaged:
            self._discard(path)
        self._keep(added=self._read_shards(list(wanted.values())))
        if scratch is None:
            self._merge()

    def __len__(self) -> int:
        return sum(shard.rows for shard in self.shards)

    def states(self, keys: Keys, contents: Keys) -> npt.NDArray[np.int8]:
        """UNSEEN, SAME or OTHER for each of the (N,) keys."""
        states = np.zeros(len(keys), np.int8)
        order = np.argsort(keys, kind="stable")
        found = [(order[places], records["content"]) for places, records in self._find("ids", keys[order])]
        for rows, _ in found:
            states[rows] = OTHER
        for rows, there in found:
            states[rows[there == contents[rows]]] = SAME
        return states

    def holds_contents(self, contents: Keys) -> npt.NDArray[np.bool_]:
        """Which of the (N,) contents a review has."""
        held = np.zeros(len(contents), np.bool_)
        order = np.argsort(contents, kind="stable")
        for places, _ in self._find("contents", contents[order]):
            held[order[places]] = True
        return held

    def contents_of(self, keys: Keys) -> Keys:
        """The contents of the reviews that have any of the keys, in no particular order."""
        found = [records["content"] for _, records in self._find("ids", np.sort(keys))]
        return np.concatenate([np.zeros(0, np.uint64), *found])

    def shards_with(self, contents: Keys) -> list[Shard]:
        """The shards that have rows with any of the contents."""
        return self._shards_in("contents", contents)

    def shards_from(self, sources: Iterable[str]) -> list[Shard]:
        """The shards that have rows from any of the files or archives; seldom others, too."""
        names = pa.array(sorted(set(sources)), pa.string())
        return self._shards_in("sources", keys_of(pc.unique(homes_of(names))))

    def _shards_in(self, section: str, keys: Keys) -> list[Shard]:
        """The shards that a section names with any of the keys."""
        names: set[str] = set()
        for part, (_, records) in self._find_by_part(section, np.sort(keys)):
            names |= {part.file.shards[number].shard.path.name for number in np.unique(records["shard"]).tolist()}
        return [shard for shard in self.shards if shard.path.name in names]

    def _find(self, section: str, keys: Keys) -> list[tuple[npt.NDArray[np.int64], Records]]:
        return [found for _, found in self._find_by_part(section, keys)]

    def _find_by_part(self, section: str, keys: Keys) -> list[tuple[_Part, tuple[npt.NDArray[np.int64], Records]]]:
        while True:
            try:
                return [(part, part.find(section, keys)) for part in self._parts]
            except DamagedIndexError as error:
                self._replace(error)

    def _replace(self, error: DamagedIndexError) -> None:
        """Reads the shards of a damaged file again."""
        with self._lock:
            damaged = [part for part in self._parts if part.file.path == error.path]
            for part in damaged:  # none if another thread was faster
                log.info("reading its shards again, because the index of keys is damaged: %s", error)
                self._keep(without=damaged, added=self._read_shards(part.shards))

    def _keep(self, *, without: Sequence[_Part] = (), added: Sequence[_Part] = ()) -> None:
        """Takes parts out, whose files go, and others in."""
        kept = [part for part in self._parts if not any(part is other for other in without)]
        self._parts = (*kept, *added)
        for part in without:
            self._discard(part.file.path)

    def _discard(self, path: Path) -> None:
        if path.parent == self._folder:
            remove(path)

    def _read_shards(self, shards: Sequence[NotedShard]) -> list[_Part]:
        return [self._write(group, _sections_of(group)) for group in _groups(shards)]

    def _write(self, shards: Sequence[NotedShard], sections: Iterable[Iterable[Records]]) -> _Part:
        path = self._folder / f"{secrets.token_hex(8)}{SUFFIX}"
        write_index_file(path, shards, sections)
        file = IndexFile(path, self._tokens)
        self._opened.append(file)
        return _Part(file, np.ones(len(shards), np.bool_))

    def _merge(self) -> None:
        """Merges files of similar size, and those of which most is of no use any more."""
        while True:
            try:
                self._keep(without=[part for part in self._parts if not part.rows])
                if chosen := _to_merge(self._parts):
                    shards, sections = _merged(chosen)
                    self._keep(without=chosen, added=[self._write(shards, sections)])
                return
            except DamagedIndexError as error:
                self._replace(error)


def forget_removed(lake: Lake) -> None:
    """Takes reviews of shards that the table does not list any more out of the index. The caller holds the table's lock.

    Raises:
        DataError: the log is damaged.
        CannotWriteError: no permission, no space.
    """
    listed = {entry.name for entry in token_table.list_shards(lake.tokens)[1]} if token_table.exists(lake.tokens) else set()
    with IndexFiles(lake) as files:
        for path in files.damaged:
            remove(path)
        for file in files.files:
            part = _Part(file, np.array([noted.shard.path.name in listed for noted in file.shards], np.bool_))
            if part.live.all() and len(part.live):
                continue
            if part.live.any():
                with suppress(DamagedIndexError):
                    shards, sections = _merged([part])
                    write_index_file(lake.index / f"{secrets.token_hex(8)}{SUFFIX}", shards, sections)
            remove(file.path)


def _groups(shards: Sequence[NotedShard]) -> Iterator[list[NotedShard]]:
    group: list[NotedShard] = []
    rows = 0
    for noted in shards:
        if group and rows + noted.shard.rows > GROUP_ROWS:
            yield group
            group, rows = [], 0
        group.append(noted)
        rows += noted.shard.rows
    if group:
        yield group


def _sections_of(shards: Sequence[NotedShard]) -> list[list[Records]]:
    """The sections of a file that covers the shards, from their rows."""
    found: dict[str, list[Records]] = {name: [] for name in SECTIONS}
    for number, noted in enumerate(shards):
        ids, contents, sources = _read_keys(noted.shard)
        found["ids"].append(_records("ids", ids, number, contents))
        found["contents"].append(_records("contents", np.unique(contents), number))
        found["sources"].append(_records("sources", sources, number))
    return [[_sorted(parts)] for parts in found.values()]


def _read_keys(shard: Shard) -> tuple[Keys, Keys, Keys]:
    """(N,) keys and contents of the rows, and (M,) keys of the files that they came from."""
    ids, contents, homes = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], [pa.array([], pa.string())]
    with open_shard(shard.path) as file:
        for batch in file.iter_batches(columns=["review_id", "content_sha256", "source"]):
            ids.append(keys_of(batch["review_id"]))
            contents.append(contents_of(batch["content_sha256"].to_pylist()))
            homes.append(pc.unique(homes_of(batch["source"])))
    sources = keys_of(pc.unique(pa.concat_arrays(homes)))
    return np.concatenate(ids), np.concatenate(contents), np.unique(sources)


def _records(section: str, keys: Keys, shard: int, contents: Keys | None = None) -> Records:
    records = np.empty(len(keys), SECTIONS[section])
    records["key"], records["shard"] = keys, shard
    if contents is not None:
        records["content"] = contents
    return records


def _sorted(parts: Sequence[Records]) -> Records:
    records = np.concatenate(parts)
    ordered: Records = records[np.argsort(records["key"], kind="stable")]
    return ordered


def _to_merge(parts: Iterable[_Part]) -> list[_Part]:
    """The smallest files, up to one that has twice the rows of all smaller ones; and those that are mostly dead."""
    ordered = sorted(parts, key=lambda part: part.rows)
    count = total = 0
    for part in ordered:
        if count and part.rows >= 2 * total:
            break
        count, total = count + 1, total + part.rows
    small = ordered[:count] if count > 1 else []
    return [*small, *(part for part in ordered[len(small) :] if part.is_mostly_dead)]


def _merged(parts: Sequence[_Part]) -> tuple[list[NotedShard], Iterator[Iterator[Records]]]:
    """Shards and sections of one file in place of several. Keys are digests, so equal ranges hold about equally many."""
    numbers, shards = [], list[NotedShard]()
    for part in parts:
        numbers.append(np.cumsum(part.live, dtype=np.uint32) + np.uint32(len(shards)) - np.uint32(1))
        shards += part.shards
    steps = 1 + sum(part.rows for part in parts) // MERGED_RECORDS
    bounds = [2**64 * step // steps for step in range(steps + 1)]

    def section(name: str) -> Iterator[Records]:
        for low, high in pairwise(bounds):
            found = []
            for part, new in zip(parts, numbers, strict=True):
                records = part.file.sections[name].between(low, high)
                records = records[part.live[records["shard"]]]
                records["shard"] = new[records["shard"]]
                found.append(records)
            yield _sorted(found)

    return shards, (section(name) for name in SECTIONS)
