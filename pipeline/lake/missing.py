"""Rows of the table that their source no longer has where it had them: those that have moved within it, and those that are
missing, which are counted in every run and removed with `--prune`.

Without a column of IDs, a review is known by its file and row. After a line was inserted or removed above it, it stands in
another row, and comes in by that; the row where it stood is another review now, or rejected, or past the end. IDs of their
own do not move: two reviews may well say the same.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake.identity import place_ids
from pipeline.lake.known import UNSEEN, KeyIndex, Keys, Known, contents_of, keys_of
from pipeline.lake.shards import open_shard
from pipeline.lake.standing import STANDING_SCHEMA
from pipeline.lake.withheld import source_pairs

if TYPE_CHECKING:
    from pipeline.lake.table_index import TableIndex

INSIDE = "!/"
"""Between an archive's name and a member's. A folder's name may end so, too."""


@dataclass(frozen=True, slots=True)
class Absent:
    """N rows of the table that a run did not meet in their source, though it read all of it.

    Args:
        ids: of the rows.
        homes: the tables and archives that they came from.
        contents: of the rows.
        by_place: (N,) which ids are a file and a row.
    """

    ids: pa.StringArray
    homes: pa.StringArray
    contents: Keys
    by_place: npt.NDArray[np.bool_]

    def take(self, keep: npt.NDArray[np.bool_]) -> "Absent":
        """The rows of the (N,) mask."""
        mask = pa.array(keep)
        return Absent(self.ids.filter(mask), self.homes.filter(mask), self.contents[keep], self.by_place[keep])

    def from_any(self, sources: Iterable[str]) -> "Absent":
        """The rows that came from any of the sources."""
        mask = pc.is_in(self.homes, value_set=pa.array(list(sources), pa.string()))
        return self.take(mask.to_numpy(zero_copy_only=False))

    def at(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """(N,) which rows have one of the keys."""
        return np.isin(keys_of(self.ids), keys)

    def moved(self, contents_from: Callable[[str], Keys]) -> npt.NDArray[np.bool_]:
        """(N,) which rows have come in under another one: each new row of the same source and content stands for one.

        Args:
            contents_from: contents of the new rows of a source.
        """
        found = np.zeros(len(self.ids), np.bool_)
        for home in pc.unique(self.homes).to_pylist():
            here = np.flatnonzero(self.by_place & pc.equal(self.homes, home).to_numpy(zero_copy_only=False))
            came, times = np.unique(contents_from(home), return_counts=True)
            if not len(came):
                continue
            here = here[np.argsort(self.contents[here], kind="stable")]
            contents = self.contents[here]
            nth = np.arange(len(here)) - np.searchsorted(contents, contents)
            places = np.minimum(np.searchsorted(came, contents), len(came) - 1)
            found[here] = (came[places] == contents) & (nth < times[places])
        return found


def absent_reviews(known: "TableIndex", seen: KeyIndex, sources: Iterable[str]) -> Absent:
    """The rows that came from `sources`, which this run read whole, and were not met in it.

    Args:
        known: every review of the table.
        seen: every review that the run met.
        sources: tables and archives, by the names that the rows carry.
    """
    found = [Absent(pa.array([], pa.string()), pa.array([], pa.string()), np.zeros(0, np.uint64), np.zeros(0, np.bool_))]
    shards = known.shards_from(sources)
    met = seen.keys()
    if shards and np.count_nonzero(known.states(met, met) != UNSEEN) != len(known):
        names = pa.array(sorted(set(sources)), pa.string())
        for shard in shards:
            with open_shard(shard.path) as file:
                homes = homes_of(file.read(columns=["source"])["source"].combine_chunks(), names)
                mask = pc.is_in(homes, value_set=names)
                if pc.any(mask).as_py():
                    rows = file.read(columns=["review_id", "source", "row", "content_sha256"]).append_column("home", homes)
                    found.append(_absent(rows.filter(mask), seen))
    return Absent(
        pa.concat_arrays([part.ids for part in found]),
        pa.concat_arrays([part.homes for part in found]),
        np.concatenate([part.contents for part in found]),
        np.concatenate([part.by_place for part in found]),
    )


def _absent(rows: pa.Table, seen: KeyIndex) -> Absent:
    """Those of the rows that the run did not meet."""
    keys = keys_of(rows["review_id"])
    rows = rows.filter(pa.array(seen.states(keys, keys) == UNSEEN))
    return Absent(
        rows["review_id"].combine_chunks(),
        rows["home"].combine_chunks(),
        contents_of(rows["content_sha256"].to_pylist()),
        pc.equal(rows["review_id"], place_ids(rows["source"], rows["row"])).to_numpy(),
    )


def leaving_pairs(known: "TableIndex", seen: KeyIndex, replaced: pa.StringArray, sources: Iterable[str]) -> Keys:
    """(N,) sources and contents, as `withheld.source_pairs`, of the rows by place that `sources` no longer have where the
    table has them: they were not met there, or are `replaced`.

    Args:
        known, seen, sources: as for `absent_reviews`.
        replaced: ids.
    """
    pairs = [
        source_pairs(rows["source"].combine_chunks(), contents_of(rows["content_sha256"].to_pylist()))
        for rows in _leaving_rows(known, seen, replaced, sources)
    ]
    return np.concatenate([np.zeros(0, np.uint64), *pairs])


def _leaving_rows(
    known: "TableIndex", seen: KeyIndex, replaced: pa.StringArray, sources: Iterable[str]
) -> Iterator[pa.Table]:
    names = pa.array(sorted(set(sources)), pa.string())
    for shard in known.shards_from(names.to_pylist()):
        with open_shard(shard.path) as file:
            rows = file.read(columns=["review_id", "source", "row", "content_sha256"]).combine_chunks()
        keys = keys_of(rows["review_id"])
        unmet = pc.or_(pa.array(seen.states(keys, keys) == UNSEEN), pc.is_in(rows["review_id"], value_set=replaced))
        by_place = pc.equal(rows["review_id"], place_ids(rows["source"], rows["row"]))
        here = pc.is_in(rows["source"], value_set=names)  # what is in an archive has its name for an id
        yield rows.filter(pc.and_(pc.and_(unmet, by_place), here))


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows of the table that stay in the place of retracted rows, which their files have in other rows now.

    Args:
        places: the id under which the table has such a row → the source and the row where it stands now.
        displaced: ids of the rows there, which leave.
    """

    places: dict[str, tuple[str, int]]
    displaced: frozenset[str] = frozenset()

    @property
    def leaving(self) -> pa.StringArray:
        """Ids under which no row stays."""
        return pa.array(sorted({*self.places, *self.displaced}), pa.string())


def kept_rows(
    known: "TableIndex",
    seen: KeyIndex,
    replaced: pa.StringArray,
    standing: pa.Table,
    contents_from: Callable[[str], Keys],
) -> Kept:
    """The rows that leave because lines of their file moved, although the line that stands for them is still there.

    Args:
        known, seen, replaced: as for `leaving_pairs`.
        standing: such lines, under `STANDING_SCHEMA`.
        contents_from: contents of the new rows of a source.
    """
    places: dict[str, tuple[str, int]] = {}
    displaced: set[str] = set()
    if not len(standing):
        return Kept(places)
    sources = pc.unique(standing["source"]).to_pylist()
    came = {source: Counter(contents_from(source).tolist()) for source in sources}
    where, ids = defaultdict[tuple[str, int], list[int]](list), dict[tuple[str, int], str]()
    for rows in _leaving_rows(known, seen, replaced, sources):
        contents = contents_of(rows["content_sha256"].to_pylist()).tolist()
        for review_id, source, row, content in zip(
            *(rows[name].to_pylist() for name in ("review_id", "source", "row")), contents, strict=True
        ):
            ids[source, row] = review_id
            where[source, content].append(row)
    wanted = sorted(zip(*(standing[name].to_pylist() for name in STANDING_SCHEMA.names), strict=True))
    for source, row, content in wanted:
        here = where[source, content]
        if row in here:
            here.remove(row)  # it stands where it stood
            continue
        if came[source][content] >= len(here):
            continue  # they have come in
        old = min(here, key=lambda place: abs(place - row))
        here.remove(old)
        places[ids[source, old]] = (source, row)
        if (source, row) in ids:
            displaced.add(ids[source, row])
    return Kept(places, frozenset(displaced))


def held_by_others(known: Known, contents: Keys, gone: pa.StringArray) -> npt.NDArray[np.bool_]:
    """Which of the (N,) contents a review of the table has whose id is not in `gone`."""
    held = known.holds_contents(contents)
    if not len(gone) or not held.any():
        return held
    table = cast("TableIndex", known)  # reviews leave nothing else
    doubtful = held & np.isin(contents, table.contents_of(keys_of(gone)))
    if doubtful.any():
        sought, found = contents[doubtful], [np.zeros(0, np.uint64)]
        for shard in table.shards_with(sought):
            with open_shard(shard.path) as file:
                rows = file.read(columns=["review_id", "content_sha256"])
            staying = pc.invert(pc.is_in(rows["review_id"], value_set=gone))
            found.append(contents_of(rows["content_sha256"].filter(staying).to_pylist()))
        held[doubtful] = np.isin(sought, np.concatenate(found))
    return held


def homes_of(sources: pa.StringArray, names: pa.StringArray | None = None) -> pa.StringArray:
    """The files that rows came from: the archive of a member.

    Args:
        names: files that are sought. Without them, a file below a folder whose name ends in "!" has the same home as others
            there.
    """
    if not pc.any(pc.match_substring(sources, INSIDE)).as_py():
        return sources
    homes = pc.replace_substring_regex(sources, f"{INSIDE}.*$", "")
    for name in [] if names is None else names.filter(pc.match_substring(names, INSIDE)).to_pylist():
        its = pc.or_(pc.equal(sources, name), pc.starts_with(sources, f"{name}{INSIDE}"))
        homes = pc.if_else(its, name, homes)
    return homes


def home_of(source: str, review_id: str) -> str:
    """The file that a row came from. What is in an archive has its name for an id; other sources are files themselves."""
    return source.partition(INSIDE)[0] if source == review_id else source
