"""Where a lake holds a review, and taking it out of the files that the lake package knows: lists, rejects, old shards."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake.atomic import PREFIX, sync_file, sync_folder, writing
from pipeline.lake.content import READ_ERRORS, open_parquet
from pipeline.lake.damage import damaged
from pipeline.lake.known import contents_of, keys_of
from pipeline.lake.missing import home_of
from pipeline.lake.paths import Lake
from pipeline.lake.review_keys import ReviewKeys, key_files, read_keys, write_keys
from pipeline.lake.shards import open_shard, read_shard
from pipeline.lake.withheld import ERASED, Withheld, pairs_of, placed_id

WORD = 4
"""Ids of fewer characters are not looked for in the text of rejects: they would be found everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldReview:
    """A row of a shard, of any version."""

    review_id: str
    source: str
    row: int
    content_sha256: str
    ids: tuple[int, ...]
    vocabulary: str
    shard: str

    @property
    def home(self) -> str:
        """The file that it came from: the archive of a member."""
        return home_of(self.source, self.review_id)

    @property
    def is_placed(self) -> bool:
        """Whether its id is only its place in a table."""
        return self.review_id == placed_id(self.source, self.row)


def shard_files(folder: Path) -> list[Path]:
    """Every shard file of a table, whichever version it belongs to."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith(PREFIX))


def find_held(paths: Iterable[Path], review_ids: Collection[str], groups: Collection[str] = ()) -> Iterator[HeldReview]:
    """The rows with one of the ids or groups.

    Raises:
        DataError: a shard is damaged.
    """
    ids, names = pa.array(sorted(review_ids), pa.string()), pa.array(sorted(groups), pa.string())
    for path in paths:
        with open_shard(path) as file:
            keys = file.read(columns=["review_id", "group"])
            mask = pc.or_(pc.is_in(keys["review_id"], value_set=ids), pc.is_in(keys["group"], value_set=names))
            if not pc.any(mask).as_py():
                continue
            rows = file.read().filter(mask).to_pylist()
        vocabulary = read_shard(path).vocabulary
        for row in rows:
            yield HeldReview(
                **{name: row[name] for name in ("review_id", "source", "row", "content_sha256")},
                ids=tuple(row["ids"]),
                vocabulary=vocabulary,
                shard=path.name,
            )


def find_targets(
    paths: Sequence[Path], live: Sequence[Path], given: Collection[str], groups: Collection[str], withheld: Withheld
) -> list[HeldReview]:
    """The rows of the reviews with the ids, and of those in the groups.

    An id that is only a place may have been another review's in another version. Of a group, only the group's own rows count
    then, and of an id that was given, not those rows of older versions that stand elsewhere in the table, unless an erasure
    that was interrupted has noted them and no other review has their place. Nor those that were retracted, if what came back
    for them stands elsewhere.

    Args:
        paths: shards of all versions.
        live: those of the table.
        withheld: what earlier erasures have noted.

    Raises:
        DataError: a shard is damaged.
    """
    grouped = list(find_held(paths, (), groups)) if groups else []
    own = {row.review_id for row in grouped if not row.is_placed}
    named = list(find_held(paths, {*given, *own}))
    names = {path.name for path in live}
    taken = {row.review_id for row in named if row.shard in names}
    old = {row for row in named if row.is_placed and row.shard not in names}
    old -= {row for row in _erased_before(old, withheld) if row.review_id not in taken}
    moved = _contents_in(live, old)
    elsewhere = {row for row in old if (row.source, row.content_sha256) in moved} | _came_back_elsewhere(old, live, withheld)
    kept = [row for row in named if row not in elsewhere]
    return list(dict.fromkeys([*kept, *(row for row in grouped if row.is_placed)]))


def _erased_before(rows: Collection[HeldReview], withheld: Withheld) -> set[HeldReview]:
    """Those of the rows that an erasure has noted."""
    listed = list(rows)
    keys, contents = keys_of([row.review_id for row in listed]), contents_of([row.content_sha256 for row in listed])
    states = withheld.states(keys, contents, pa.array([row.source for row in listed], pa.string()))
    return {row for row, state in zip(listed, states.tolist(), strict=True) if state == ERASED}


def _came_back_elsewhere(rows: Collection[HeldReview], live: Iterable[Path], withheld: Withheld) -> set[HeldReview]:
    """Those of the rows that were retracted, and for which the table has in another row what they had replaced."""
    listed = list(rows)
    sources = pa.array([row.source for row in listed], pa.string())
    stands_for = withheld.stands_for(contents_of([row.content_sha256 for row in listed]), sources)
    if not stands_for.any():
        return set()
    places = defaultdict[tuple[str, int], set[str]](set)
    for path in live:
        with open_shard(path) as file:
            there = file.read(columns=["source", "content_sha256", "review_id"])
        there = there.filter(pc.is_in(there["source"], value_set=sources))
        names, digests, ids = (column.to_pylist() for column in there.columns)
        for source, content, review_id in zip(names, contents_of(digests).tolist(), ids, strict=True):
            places[source, content].add(review_id)
    found = ((row, places[row.source, content]) for row, content in zip(listed, stands_for.tolist(), strict=True) if content)
    return {row for row, ids in found if ids and row.review_id not in ids}


def rows_of_files(names: Collection[str], paths: Iterable[Path], rejects: Iterable[Path]) -> set[str]:
    """Those of the ids that name rows of files which were ever read, so that any review may come to stand there.

    Args:
        paths: shards of all versions.

    Raises:
        DataError: a shard, or a file of rejects, is damaged.
    """
    places = {name: place for name in names for place in _places(name)}
    if not places:
        return set()
    sources = pa.array(sorted({source for source, _ in places.values()}), pa.string())
    tables: set[str] = set()
    for path in paths:
        with open_shard(path) as file:
            rows = file.read(columns=["review_id", "source"])
        # A review that is a file has its name for an id.
        rows = rows.filter(pc.and_(pc.is_in(rows["source"], value_set=sources), pc.not_equal(*rows.columns)))
        tables.update(pc.unique(rows["source"]).to_pylist())
    rejected: set[tuple[str, int]] = set()
    for path in rejects:
        try:
            with open_parquet(path) as file:
                bad = file.read(columns=["source", "row"])
        except READ_ERRORS as error:
            raise damaged(path, error, "the rejects", "Delete the file; the next ingest writes it again.") from error
        bad = bad.filter(pc.is_in(bad["source"], value_set=sources))
        rejected.update(zip(bad["source"].to_pylist(), bad["row"].to_pylist(), strict=True))
    return {name for name, place in places.items() if place[0] in tables or place in rejected}


def shards_with_moved(paths: Iterable[Path], held: Iterable[HeldReview]) -> set[str]:
    """Names of the shards that have a review whose id is only its place, under whichever place of its file."""
    rows = {row for row in held if row.is_placed}
    pairs = {(row.source, row.content_sha256) for row in rows}
    return {path.name for path in paths if pairs and not pairs.isdisjoint(_contents_in([path], rows))}


def _contents_in(paths: Iterable[Path], rows: Collection[HeldReview]) -> set[tuple[str, str]]:
    """Sources and contents that shards have, of those that have a content of the rows."""
    contents = pa.array(sorted({row.content_sha256 for row in rows}), pa.string())
    found: set[tuple[str, str]] = set()
    for path in paths if len(contents) else ():
        with open_shard(path) as file:
            keys = file.read(columns=["source", "content_sha256"])
        keys = keys.filter(pc.is_in(keys["content_sha256"], value_set=contents))
        found.update(zip(keys["source"].to_pylist(), keys["content_sha256"].to_pylist(), strict=True))
    return found


def standing(held: Sequence[HeldReview], live: Sequence[Path]) -> list[HeldReview]:
    """The rows in the places where the reviews are, or were last as far as no other review stands there now."""
    names = {path.name for path in live}
    in_table = {(row.source, row.content_sha256) for row in held if row.shard in names}
    old = [
        row for row in held if row.is_placed and row.shard not in names and (row.source, row.content_sha256) not in in_table
    ]
    taken = {row.review_id for row in find_held(live, {row.review_id for row in old})} if old else set()
    left = {row for row in old if row.review_id not in taken}
    return [row for row in held if not row.is_placed or row.shard in names or row in left]


def has_groups(paths: Iterable[Path]) -> bool:
    """Whether any review has a group.

    Raises:
        DataError: a shard is damaged.
    """
    for path in paths:
        with open_shard(path) as file:
            if any(batch["group"].null_count < len(batch) for batch in file.iter_batches(columns=["group"])):
                return True
    return False


def keys_to_erase(
    review_ids: Collection[str], held: Sequence[HeldReview], places: Collection[str], withheld: Withheld
) -> ReviewKeys:
    """What holds the reviews off from now on, beside what already does.

    An id of its own is withheld whatever the content. An id that is only a place is not: when its row is taken out of the
    file, as it should be, another review moves there. Its content is withheld in its file.

    Args:
        places: ids of rows that no version of the table has. Nothing is withheld there.
    """
    placed = {row for row in held if row.is_placed}
    own = {row.review_id for row in held} - {row.review_id for row in placed}
    whole = sorted({*review_ids} - {row.review_id for row in placed} - {*places})
    blank = [name for name in sorted(places) if not withheld.has_erased([name])[0]]
    erases, erased = withheld.erases(whole).tolist(), withheld.has_erased(whole).tolist()
    # An id that is nowhere any more was noted as it had to be when it was erased.
    whole = [
        name for name, same, any_of in zip(whole, erases, erased, strict=True) if not (same or (any_of and name not in own))
    ]
    parts = sorted({(row.review_id, row.content_sha256, row.source) for row in placed})
    review, content = keys_of([part[0] for part in parts]), contents_of([part[1] for part in parts])
    source = keys_of([part[2] for part in parts])
    new = withheld.states(review, content, pa.array([part[2] for part in parts], pa.string())) != ERASED
    nothing, none = np.zeros(len(whole), np.uint64), np.zeros(len(blank), np.uint64)
    is_whole = np.repeat([True, False, False], [len(whole), len(blank), int(new.sum())])
    has_content = np.repeat([False, False, True], [len(whole), len(blank), int(new.sum())])
    files = keys_of([source for name in blank for source, _ in _places(name)])
    return ReviewKeys.of(
        np.concatenate([keys_of(whole), keys_of(blank), review[new]]),
        (np.concatenate([nothing, none, content[new]]), ~has_content),
        (np.concatenate([nothing, files, source[new]]), is_whole),
    )


def erase_from_lists(lake: Lake, review_ids: Collection[str], held: Iterable[HeldReview], *, dry_run: bool) -> int:
    """Takes the reviews out of the lists of what runs brought and of what was retracted; gives the number of entries. Where
    an id is only a place, what another review has there stays."""
    placed = sorted({(row.review_id, row.content_sha256) for row in held if row.is_placed})
    keys = keys_of(sorted({*review_ids} - {review_id for review_id, _ in placed}))
    pairs = pairs_of(keys_of([review_id for review_id, _ in placed]), contents_of([content for _, content in placed]))
    entries = 0
    for path in [*key_files(lake.runs), *key_files(lake.retracted)]:
        listed = read_keys(path)
        content, without = listed.content
        keep = ~(np.isin(listed.review, keys) | (np.isin(pairs_of(listed.review, content), pairs) & ~without))
        entries += int((~keep).sum())
        if not keep.all() and not dry_run:
            write_keys(path, listed.take(keep), path.stem.removesuffix(".rows"))
    return entries


def erase_from_rejects(lake: Lake, review_ids: Collection[str], held: Sequence[HeldReview], scratch: Path | None) -> int:
    """Takes rows of the reviews out of `rejects/`; gives their number.

    A reject has no id: those are taken that stand at a review's place, or whose detail or excerpt has its id as a word.

    Args:
        scratch: a folder on the lake's disk; None to count alone.
    """
    places = {(row.source, row.row) for row in held} | {place for name in review_ids for place in _places(name)}
    words = sorted(name for name in review_ids if len(name) >= WORD)
    pattern = f"(?:^|[^0-9A-Za-z_])(?:{'|'.join(map(re.escape, words))})(?:[^0-9A-Za-z_]|$)" if words else "(?!)"
    quoted = [repr(name) for name in review_ids]
    word = re.compile(pattern)

    def mask(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        columns = (batch[name].to_pylist() for name in ("source", "row", "detail", "excerpt"))
        return np.array(
            [
                (source, row) in places
                or source in review_ids
                or any(name in detail for name in quoted)
                or bool(word.search(detail) or word.search(excerpt))
                for source, row, detail, excerpt in zip(*columns, strict=True)
            ],
            np.bool_,
        )

    return sum(_filter_rejects(path, mask, scratch) for path in key_files(lake.rejects))


def _places(review_id: str) -> list[tuple[str, int]]:
    """The place that an id may be."""
    source, _, row = review_id.rpartition("#")
    return [(source, int(row))] if source and row.isdecimal() and len(row) < 19 else []


def _filter_rejects(path: Path, mask: Callable[[pa.RecordBatch], npt.NDArray[np.bool_]], scratch: Path | None) -> int:
    """Writes a file of rejects again without some rows, under the digest of what is left; gives their number."""
    try:
        with open_parquet(path) as file:
            gone = sum(int(mask(batch).sum()) for batch in file.iter_batches())
            if not gone or scratch is None:
                return gone
            kept = 0
            temporary = scratch / "rejects.parquet"
            with writing(temporary), pq.ParquetWriter(temporary, file.schema_arrow, compression="zstd") as writer:
                for batch in file.iter_batches():
                    left = batch.filter(pa.array(~mask(batch)))
                    kept += len(left)
                    if len(left):
                        writer.write_batch(left)
    except READ_ERRORS as error:
        raise damaged(path, error, "the rejects", "Delete the file; the next ingest writes it again.") from error
    with writing(path):
        if kept:
            target = path.with_name(f"{hashlib.sha256(temporary.read_bytes()).hexdigest()[:16]}.parquet")
            sync_file(temporary)
            temporary.replace(target)
            sync_folder(path.parent)
        path.unlink()
        sync_folder(path.parent)
    return gone


def delete_shards(folder: Path, names: Collection[str]) -> None:
    """Deletes shards that only older versions have; these versions cannot be read any more."""
    with writing(folder):
        for name in sorted(names):
            (folder / name).unlink(missing_ok=True)
        sync_folder(folder)


def unreadable(paths: Iterable[Path]) -> list[Path]:
    """The shards that cannot be read, so that nobody knows whether they hold a review."""
    found = []
    for path in paths:
        try:
            read_shard(path)
        except (DataError, InputNotFoundError):
            found.append(path)
    return found
