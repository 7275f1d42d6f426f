"""What taking back a run changes in the table: rows that go, rows that come back, and what cannot come back."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError, InputNotFoundError, PipelineError
from pipeline.lake.brought import Brought, brought_by, read_shard_keys
from pipeline.lake.known import SAME, KeyIndex, Keys, contents_of, keys_of, shards_holding
from pipeline.lake.log import Commit
from pipeline.lake.missing import home_of
from pipeline.lake.paths import Lake
from pipeline.lake.review_keys import Masked, ReviewKeys, key_files
from pipeline.lake.shards import Shard, open_shard, read_shard
from pipeline.lake.standing import past_the_end, standing_for
from pipeline.lake.table import TokenTable
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.lake.withheld import FREE, Withheld, pairs_of, placed_id, source_pairs
from pipeline.text.vocabulary import Vocabulary

ROWS = 16_384
"""Rows of a shard that come back together."""


@dataclass(frozen=True, kw_only=True)
class Retraction:
    """The plan for one run. Counts are rows."""

    commit: Commit
    gone: pa.StringArray
    """Ids of the rows that leave the table."""
    sources: dict[str, int]
    """Rows that leave, by file."""
    keys: ReviewKeys
    """The rows that the run brought and that must not come in again: not those that it only moved within their file."""
    restored: list[pa.Table] = field(default_factory=list)
    """Rows that come back, each table of one split."""
    vocabulary: str = ""
    """Fingerprint of the vocabulary of their ids."""
    lost: int = 0
    """Replaced rows whose earlier content is nowhere any more."""
    kept: int = 0
    """Rows that the run brought and a later one replaced or removed."""

    def __bool__(self) -> bool:
        return bool(len(self.gone) or self.restored)

    @property
    def num_restored(self) -> int:
        """Rows that come back."""
        return sum(map(len, self.restored))


def plan_retraction(lake: Lake, table: TokenTable, commits: Sequence[Commit], commit: Commit) -> Retraction:
    """Finds out what the table would be without the run of a commit.

    A row is the run's as long as it has the content that the run gave it, and no later run gave it the same again.

    Raises:
        DataError: the shards that would tell were deleted, or are damaged.
    """
    brought = brought_by(lake, commit)
    if brought is None:
        raise DataError(
            f"{commit.run_id}: the shards that would tell its rows from those of other runs were deleted by a 'pipeline "
            "vacuum' of an earlier release, which kept no list of them. Nothing was changed. Remove its reviews by id with "
            "'pipeline erase --from FILE', or ingest the other sources into a new lake."
        )
    brought, later = _without_later(lake, brought, commits, commit)
    here = list(_rows_in(table, brought.index()))
    gone = pa.concat_arrays([pa.array([], pa.string()), *(ids for ids, _, _ in here)])
    sources: Counter[str] = Counter()
    for ids, names, _ in here:
        sources.update(map(home_of, names, ids.to_pylist()))
    placed: dict[int, tuple[int, int]] = {key: place for _, _, places in here for key, place in places.items()}
    gone_keys = keys_of(gone)
    places = [placed.get(key, (0, 0)) for key in brought.keys.tolist()]
    source = np.array([name for name, _ in places], np.uint64)
    found = _Earlier(lake, table, commits, commit, gone_keys, later)
    restored = found.rows()
    files = sorted({name for _, names, _ in here for name in names})
    digests = dict(zip(keys_of(files).tolist(), files, strict=True))
    stands_for = _standing_for(table, source, [row for _, row in places], brought.contents, restored, digests)
    keys = ReviewKeys.of(brought.keys, brought.contents, (source, source == 0), brought.replaced, stands_for)
    keys = keys.take(~_only_moved(keys, restored))
    replaced = np.isin(gone_keys, brought.keys[brought.replaced])
    return Retraction(
        commit=commit,
        gone=gone,
        sources=dict(sources.most_common()),
        keys=keys,
        restored=restored,
        vocabulary=found.fingerprint,
        lost=int(np.isin(gone_keys[replaced], found.settled, invert=True).sum()),
        kept=len(brought.keys) - len(gone),
    )


def _only_moved(keys: ReviewKeys, restored: Sequence[pa.Table]) -> npt.NDArray[np.bool_]:
    """(N,) which rows have the place for an id and say what a row of the same file says that comes back: one each."""
    back = Counter[int]()
    for rows in restored:
        contents = contents_of(rows["content_sha256"].to_pylist())
        back.update(source_pairs(rows["source"].combine_chunks(), contents).tolist())
    sources, unplaced = keys.source
    moved = np.zeros(len(keys), np.bool_)
    if back:
        for row, pair in enumerate(pairs_of(sources, keys.content[0]).tolist()):
            if back[pair] and not unplaced[row]:
                back[pair] -= 1
                moved[row] = True
    return moved


def _standing_for(
    table: TokenTable,
    sources: Keys,
    rows: Sequence[int],
    contents: Keys,
    restored: Sequence[pa.Table],
    names: Mapping[int, str],
) -> Masked:
    """For (N,) rows that a run brought, what each stands for: see `standing`.

    Args:
        sources: 0 where the id is no place.
        names: of the sources.
    """
    brought, back = defaultdict[int, dict[int, int]](dict), defaultdict[int, dict[int, int]](dict)
    which: dict[tuple[int, int], int] = {}
    for at, (source, row, content) in enumerate(zip(sources.tolist(), rows, contents.tolist(), strict=True)):
        if source:
            brought[source][row], which[source, row] = content, at
    for part in restored:
        digests = keys_of(part["source"].combine_chunks())
        there = np.isin(digests, np.array(list(brought), np.uint64))
        found = part.filter(pa.array(there))
        held = contents_of(found["content_sha256"].to_pylist()).tolist()
        for source, row, content in zip(digests[there].tolist(), found["row"].to_pylist(), held, strict=True):
            back[source][row] = content
    for source in back:
        back[source] |= _past_the_end(table, names[source], past_the_end(brought[source], back[source]))
    stands_for, nothing = np.zeros(len(rows), np.uint64), np.ones(len(rows), np.bool_)
    for source, restored_rows in back.items():
        for row, content in standing_for(brought[source], restored_rows).items():
            at = which[source, row]
            stands_for[at], nothing[at] = content, False
    return stands_for, nothing


def _past_the_end(table: TokenTable, source: str, rows: range) -> dict[int, int]:
    """The contents of these rows of a file in the table; nothing if it has the row after them, too."""
    wanted = {placed_id(source, row): row for row in range(rows.start, rows.stop + 1)}
    found: dict[int, int] = {}
    if not len(rows):
        return found
    for shard, others in shards_holding(table.shards, pa.array(list(wanted), pa.string())):
        with open_shard(shard.path) as file:
            held = file.read(columns=["review_id", "content_sha256"]).filter(pc.invert(others))
        contents = contents_of(held["content_sha256"].to_pylist()).tolist()
        found |= dict(zip((wanted[name] for name in held["review_id"].to_pylist()), contents, strict=True))
    return {} if rows.stop in found else found


def _without_later(lake: Lake, brought: Brought, commits: Sequence[Commit], commit: Commit) -> tuple[Brought, Keys]:
    """The rows without those that a later run brought again, byte for byte; and the keys of all that later runs brought."""
    keys = [np.zeros(0, np.uint64)]
    for later in commits:
        if later.version <= commit.version or not later.brings:
            continue
        try:
            again = brought_by(lake, later)
        except (DataError, InputNotFoundError):
            again = None  # repair replaced a damaged shard
        if again is not None:  # else it cannot be told, and the row stays the first one's
            keep = again.index().states(brought.keys, brought.contents) != SAME
            brought = Brought(brought.keys[keep], brought.contents[keep], brought.replaced[keep])
            keys.append(again.keys)
    return brought, np.concatenate(keys)


def _rows_in(table: TokenTable, wanted: KeyIndex) -> Iterator[tuple[pa.StringArray, list[str], dict[int, tuple[int, int]]]]:
    """Ids and sources of the wanted rows that the table has; the source's key and the row of those whose id is only that."""
    columns = ["review_id", "source", "row", "content_sha256"]
    for shard in table.shards:
        with open_shard(shard.path) as file:
            for batch in file.iter_batches(columns=columns):
                keys = keys_of(batch["review_id"])
                hit = wanted.states(keys, contents_of(batch["content_sha256"].to_pylist())) == SAME
                if not hit.any():
                    continue
                rows = batch.filter(pa.array(hit))
                ids, names = rows["review_id"], rows["source"].to_pylist()
                numbers = rows["row"].to_pylist()
                triples = zip(ids.to_pylist(), names, numbers, strict=True)
                is_place = [review_id == placed_id(name, row) for review_id, name, row in triples]
                digests = dict(zip(set(names), keys_of(set(names)).tolist(), strict=True)) if any(is_place) else {}
                places = zip(keys[hit].tolist(), names, numbers, is_place, strict=True)
                yield ids, names, {key: (digests[name], row) for key, name, row, placed in places if placed}


class _Earlier:
    """Looks for the rows that a run replaced or pruned, as they were before it.

    Where such a row came from a run that was itself retracted, the row before that one is looked for.

    Args:
        gone: keys of the rows that leave the table.
        later: keys of the rows that later runs brought; what the run pruned of them is theirs to prune.
    """

    def __init__(
        self, lake: Lake, table: TokenTable, commits: Sequence[Commit], commit: Commit, gone: Keys, later: Keys
    ) -> None:
        self.lake, self.gone, self.later = lake, gone, later
        retracted = {path.stem for path in key_files(lake.retracted)}
        earlier = [old for old in commits if old.run_id in retracted and old.version < commit.version]
        self.steps = [commit, *sorted(earlier, key=lambda old: -old.version)]
        self.withheld = Withheld.load(lake, without=commit.run_id)
        self.settled = np.zeros(0, np.uint64)
        """Keys of the reviews that come back, or that must not."""
        self.present, _ = read_shard_keys(shard.path for shard in table.shards)
        self.fingerprint = table.vocabulary
        self._fits: dict[str, bool] = {}

    def rows(self) -> list[pa.Table]:
        """The rows that come back, by split."""
        found: dict[str, list[pa.Table]] = {}
        pending = self.gone
        for step in self.steps:
            blocked = [np.zeros(0, np.uint64)]
            for shard, rows, pruned in self._removed(step):
                keys = keys_of(rows["review_id"])
                wanted = np.isin(keys, pending)
                if step is self.steps[0]:
                    wanted |= pruned & ~np.isin(keys, self.present) & ~np.isin(keys, self.later)
                wanted &= ~np.isin(keys, self.settled)
                contents = contents_of(rows["content_sha256"].to_pylist())
                free = self.withheld.states(keys, contents, rows["source"]) == FREE
                if (back := rows.filter(pa.array(wanted & free))).num_rows:
                    found.setdefault(shard.split, []).append(back)
                    self.settled = np.union1d(self.settled, keys[wanted & free])
                blocked.append(keys[wanted & ~free])
            pending = np.concatenate(blocked)
            if not len(pending):
                break
        self.settled = np.union1d(self.settled, pending)
        return [pa.concat_tables(tables, promote_options="default") for _, tables in sorted(found.items())]

    def _removed(self, commit: Commit) -> Iterator[tuple[Shard, pa.Table, npt.NDArray[np.bool_]]]:
        """The rows that a commit replaced or pruned, and which of them it pruned, as far as their shards are there and
        their ids still valid."""
        brought = brought_by(self.lake, commit)
        replaced = np.zeros(0, np.uint64) if brought is None else brought.keys[brought.replaced]
        # Without all of them, a row that only moved cannot be told from one that was pruned.
        whole = all((self.lake.tokens / name).exists() for name in commit.added)
        added = read_shard_keys(self.lake.tokens / name for name in sorted(commit.added))[0] if whole else replaced
        for name in sorted(commit.removed):
            try:
                shard = read_shard(self.lake.tokens / name)
                if not self._valid(shard):
                    continue
                with open_shard(shard.path) as file:
                    rows = file.read()
            except (DataError, InputNotFoundError):
                continue
            keys = keys_of(rows["review_id"])
            pruned = ~np.isin(keys, added) if whole else np.zeros(len(keys), np.bool_)
            mask = pruned | np.isin(keys, replaced)
            yield shard, rows.filter(pa.array(mask)), pruned[mask]

    def _valid(self, shard: Shard) -> bool:
        """Whether the ids in a shard mean the same in the table's vocabulary."""
        self.fingerprint = self.fingerprint or shard.vocabulary
        if shard.vocabulary not in self._fits:
            self._fits[shard.vocabulary] = shard.vocabulary == self.fingerprint or _is_extended(
                self._vocabulary(shard.vocabulary), self._vocabulary(self.fingerprint)
            )
        return self._fits[shard.vocabulary]

    def _vocabulary(self, fingerprint: str) -> Vocabulary | None:
        try:
            return read_vocabulary(self.lake.vocabulary / f"{fingerprint}.parquet", fingerprint)
        except PipelineError:
            return None


def _is_extended(old: Vocabulary | None, new: Vocabulary | None) -> bool:
    """Whether the new vocabulary only adds labels: a lake's first reviews may have had none."""
    if old is None or new is None:
        return False
    return old.tokens.equals(new.tokens) and new.labels[: len(old.labels)] == old.labels


def shards_at(commits: Sequence[Commit], version: int) -> set[str]:
    """The names of the shards of a version, by replaying the log."""
    names: set[str] = set()
    for commit in commits:
        if commit.version <= version:
            names = (names - commit.removed) | commit.added
    return names
