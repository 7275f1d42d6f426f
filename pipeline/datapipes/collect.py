"""The ordered part of ingest's first pass, one batch after another: counts, labels, duplicates, the spill.

If a source turns out to be faulty, all of its rows are rolled back.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datapipes.repeated_ids import RepeatedIds
from pipeline.datapipes.source_reader import SourceBegins, SourceEnds
from pipeline.datapipes.spill import SpillWriter
from pipeline.datapipes.tokenize_reviews import TokenizedBatch
from pipeline.errors import DataError
from pipeline.lake.known import OTHER, SAME, UNSEEN, KeyIndex, Keys, Known
from pipeline.lake.missing import held_by_others
from pipeline.lake.reject_writer import RejectWriter
from pipeline.lake.withheld import RETRACTED, source_pairs
from pipeline.process import give_freed_memory_back
from pipeline.readers.base import FileFault
from pipeline.readers.reviews import Groups
from pipeline.text.vocabulary import Counts
from schemas.reject import WELL_FORMED, BadRow

COUNTED_SPLITS = ("train", "unsup")
"""Only these splits count for the vocabulary; text of valid and test never does."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """N reviews that must not come in, with `pairs` as `withheld.Withheld.elsewhere` makes them, and why."""

    keys: Keys
    pairs: Keys
    why: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Findings:
    """What earlier readings of the same sources found out about them, and about the reviews that leave the table for them.

    Args:
        freed: contents whose reviews leave the table in this run, so that reviews with them are no duplicates of those.
        staying: contents whose reviews stay in the table, so that a row that is replaced by one of them becomes a duplicate.
        released: how many reviews with a content from a source may come in although it was withheld from there, by
            `withheld.source_pairs`: those that the table has, or had until this run, in another row.
        last: reviews of which the sources have rows that differ, each with the content of the last one, which counts.
    """

    freed: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    staying: Keys = field(default_factory=lambda: np.zeros(0, np.uint64))
    released: dict[int, int] = field(default_factory=dict)
    last: KeyIndex = field(default_factory=KeyIndex)

    def __bool__(self) -> bool:
        return bool(len(self.freed) or len(self.staying) or self.released or len(self.last))

    def __or__(self, other: "Findings") -> "Findings":
        return Findings(
            freed=np.union1d(self.freed, other.freed),
            staying=np.union1d(self.staying, other.staying),
            released=self.released | other.released,
            last=self.last | other.last,
        )


@dataclass(kw_only=True)
class Collector:
    """Processes the batches of the first pass in order. Counts are rows.

    Args:
        counts: counts tokens for a new vocabulary; None if there already is one.
        known_reviews: those in the table.
        distinct: contents earlier in this run, if reviews with duplicate content are to be dropped.
        empty: names of files of no bytes, which may not have been written yet.
        repeated: notes rows with the ID of an earlier one, if the last one counts; else the first does, and those with other
            content are rejected.
    """

    spill: SpillWriter
    rejects: RejectWriter
    counts: Counts | None
    known_reviews: Known = field(default_factory=KeyIndex)
    distinct: KeyIndex | None = None
    empty: frozenset[str] = frozenset()
    repeated: RepeatedIds | None = None
    findings: Findings = field(default_factory=Findings)
    admitted: Counter[int] = field(default_factory=Counter)
    """How many of the released reviews have come in."""
    seen: KeyIndex = field(default_factory=KeyIndex)
    labels: set[str] = field(default_factory=set)
    groups: dict[str, pa.DictionaryArray] = field(default_factory=dict)
    replaced_ids: list[pa.Array] = field(default_factory=list)
    contents: list[Keys] = field(default_factory=list)
    """Contents of new rows, and of replaced ones that are dropped as duplicates."""
    declined: list[Keys] = field(default_factory=list)
    """Contents of rows dropped as duplicates of reviews in the table."""
    doubling: list[Keys] = field(default_factory=list)
    """Contents of replaced rows that have come in although the table has them already, in reviews that may leave it."""
    arrivals: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Which of `contents` a source has brought: (first, end)."""
    sources: list[str] = field(default_factory=list)
    """Names of sources that were read completely; reviews of theirs in the lake that were not seen are missing."""
    doubtful: list[str] = field(default_factory=list)
    """Names of the other sources read completely: rejected rows may be known reviews, and a file of no bytes may have to be
    written yet, so nothing of them is missing."""
    brought: list[str] = field(default_factory=list)
    """Names of sources with new reviews."""
    faults: list[FileFault] = field(default_factory=list)
    dropped: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of spilled batches that belong to faulty sources."""
    read: int = 0
    new: int = 0
    known: int = 0
    deduplicated: int = 0
    superseded: int = 0
    """Rows in whose place a later one with the same ID counts; they count as known."""
    superseded_keys: list[Keys] = field(default_factory=list)
    tokens: int = 0
    targets: int = 0
    """New rows with a number for regression."""
    withheld: list[Withheld] = field(default_factory=list)
    """Reviews that were retracted or erased; they count as known."""
    standing: list[pa.RecordBatch] = field(default_factory=list)
    """Under `STANDING_SCHEMA`, those in whose place a row of the table stands."""
    _before: dict[str, Any] = field(default_factory=dict)
    _in_doubt: bool = False

    def take(self, batch: TokenizedBatch | Groups | SourceBegins | SourceEnds) -> int:
        """Processes one batch; returns its number of rows."""
        if isinstance(batch, SourceBegins):
            self._before = self._snapshot()
            self._in_doubt = False
            return 0
        if isinstance(batch, SourceEnds):
            self._end(batch)
            return 0
        if isinstance(batch, Groups):
            self._take_groups(batch)
            return 0
        read = batch.read
        self.leave_out(batch.faults)
        self.read -= len(batch.faults)  # counted by their source
        self.rejects.write(batch.bad)
        self._in_doubt |= any(row.reason not in WELL_FORMED or row.reason == "unknown_label" for row in batch.bad)
        batch = self._without_superseded(batch)
        if len(batch.withheld_keys):
            self._withhold(batch.withheld_keys, batch.withheld_pairs, batch.withheld)
            self.standing.append(batch.standing)
        if self.findings.released:
            batch = self._admitted(batch)
        batch = self._without_repeated(batch)
        if batch.replaced.any():
            self.replaced_ids.append(batch.rows["review_id"].filter(pa.array(batch.replaced)))
        if self.distinct is not None:
            batch = self._without_duplicates(batch, self.distinct)
        self._keep(batch)
        return read

    @property
    def replaced(self) -> pa.StringArray:
        """Ids of the reviews of the table whose content the sources have changed."""
        return pa.concat_arrays([pa.array([], pa.string()), *self.replaced_ids])

    def contents_from(self, source: str) -> Keys:
        """(N,) contents of the new and replaced rows of a source that was read completely."""
        first, end = self.arrivals.get(source, (0, 0))
        return np.concatenate([np.zeros(0, np.uint64), *self.contents[first:end]])

    def duplicates(self, gone: pa.StringArray) -> int:
        """New rows whose content already exists, in the table or earlier in this run.

        Args:
            gone: ids of the reviews that leave the table in this run, which do not count.
        """
        if self.distinct is not None:
            return self.deduplicated
        contents = np.concatenate([np.zeros(0, np.uint64), *self.contents])
        distinct = np.unique(contents)
        return len(contents) - len(distinct) + int(held_by_others(self.known_reviews, distinct, gone).sum())

    def misjudged(self, gone: pa.StringArray) -> Findings:
        """What was taken for a duplicate, or was not, without knowing what leaves the table: nothing that `findings` has.

        Args:
            gone: ids of the reviews that leave the table in this run.
        """
        declined = np.unique(np.concatenate([np.zeros(0, np.uint64), *self.declined]))
        lost = declined[~held_by_others(self.known_reviews, declined, gone)]
        doubling = np.unique(np.concatenate([np.zeros(0, np.uint64), *self.doubling]))
        doubled = doubling[held_by_others(self.known_reviews, doubling, gone)]
        return Findings(freed=lost, staying=doubled)

    def in_conflict(self) -> KeyIndex:
        """Reviews of which the sources have rows that differ, with the content of the last one, if that one counts.

        Raises:
            DataError: an earlier reading has found later rows for some that this one has not.
        """
        keys = np.unique(np.concatenate([np.zeros(0, np.uint64), *self.superseded_keys]))
        if lost := int(np.count_nonzero(self.seen.states(keys, keys) == UNSEEN)):
            raise DataError(
                f"the sources changed while they were read: later rows of {lost:,} reviews with the same ID (--id-conflict "
                "last) are gone. Nothing was committed. Run it again."
            )
        return self.repeated.conflicting() if self.repeated is not None else KeyIndex()

    def release(self, *, keep_seen: bool) -> None:
        """Gives back what only the first pass and `duplicates` need, some 40 bytes a review; the second pass has more room.

        Args:
            keep_seen: do not forget which reviews were seen.
        """
        self._before = {}
        self.counts = self.distinct = self.repeated = None
        self.findings = Findings()
        self.superseded_keys = []
        self.contents = []
        self.declined = []
        self.doubling = []
        self.arrivals = {}
        if not keep_seen:
            self.seen = KeyIndex()
        pa.default_memory_pool().release_unused()
        give_freed_memory_back()

    def num_withheld(self, why: int) -> int:
        """Reviews that were retracted, or erased."""
        return sum(int(np.count_nonzero(part.why == why)) for part in self.withheld)

    def retracted_keys(self) -> Keys:
        """(N,) keys of retracted reviews that the sources still have; what came back to the table in their place is not
        missing. Nothing comes back in the place of an erased one."""
        return np.concatenate([np.zeros(0, np.uint64), *(part.keys[part.why == RETRACTED] for part in self.withheld)])

    def releases(self, leaving: Keys) -> dict[int, int]:
        """How many reviews of each content and source would have to be let in although it was withheld from there.

        Args:
            leaving: contents and sources of the rows that the table has in another row than the source has them.
        """
        met = Counter(self.admitted)
        for part in self.withheld:
            met.update(part.pairs[part.pairs != 0].tolist())
        counts = Counter(leaving[np.isin(leaving, np.array(list(met), np.uint64))].tolist())
        return {pair: min(count, met[pair]) for pair, count in counts.items()}

    def _take_groups(self, groups: Groups) -> None:
        if groups.lines is not None:
            self.groups[groups.folder] = groups.lines
        if groups.fault is not None:
            self.leave_out([groups.fault])

    def _end(self, end: SourceEnds) -> None:
        if end.fault is None:
            self.read += end.rows
            if self.new > self._before["new"]:
                self.brought.append(end.name)
            if len(self.contents) > self._before["contents"]:
                self.arrivals[end.name] = (self._before["contents"], len(self.contents))
            (self.doubtful if self._in_doubt or end.name in self.empty else self.sources).append(end.name)
            return
        spilled = self._before.pop("spilled")
        if self.spill.batches > spilled:
            self.dropped.append((spilled, self.spill.batches))
        self.seen.restore(self._before.pop("seen"))
        self.rejects.restore(self._before.pop("rejects"))
        if self.counts is not None:
            self.counts.restore(self._before.pop("counts"))
        if self.distinct is not None:
            self.distinct.restore(self._before.pop("distinct"))
        if self.repeated is not None:
            self.repeated.restore(self._before.pop("repeated"))
        del self.superseded_keys[self._before.pop("superseded_keys") :]
        del self.contents[self._before.pop("contents") :]
        del self.declined[self._before.pop("declined") :]
        del self.doubling[self._before.pop("doubling") :]
        del self.withheld[self._before.pop("withheld") :]
        del self.standing[self._before.pop("standing") :]
        del self.replaced_ids[self._before.pop("replaced_ids") :]
        for name, value in self._before.items():
            setattr(self, name, value)
        self.leave_out([end.fault])

    def leave_out(self, faults: Iterable[FileFault]) -> None:
        """Records files that are skipped."""
        for fault in faults:
            self.faults.append(fault)
            row = BadRow(source=fault.place, row=-1, reason=fault.reason, detail=fault.detail)
            self.rejects.write([row])

    def _snapshot(self) -> dict[str, Any]:
        """The state to roll back to when a source is faulty. Parts are never changed in place, so most are not copied."""
        return {
            "spilled": self.spill.batches,
            "seen": self.seen.snapshot(),
            "rejects": self.rejects.snapshot(),
            **({"counts": self.counts.snapshot()} if self.counts is not None else {}),
            **({"distinct": self.distinct.snapshot()} if self.distinct is not None else {}),
            **({"repeated": self.repeated.snapshot()} if self.repeated is not None else {}),
            "superseded_keys": len(self.superseded_keys),
            "superseded": self.superseded,
            "labels": set(self.labels),
            "targets": self.targets,
            "groups": dict(self.groups),
            "replaced_ids": len(self.replaced_ids),
            "contents": len(self.contents),
            "declined": len(self.declined),
            "doubling": len(self.doubling),
            "withheld": len(self.withheld),
            "standing": len(self.standing),
            "admitted": self.admitted.copy(),
            "read": self.read,
            "new": self.new,
            "known": self.known,
            "deduplicated": self.deduplicated,
            "tokens": self.tokens,
        }

    def _withhold(self, keys: Keys, pairs: Keys, why: npt.NDArray[np.int8]) -> None:
        self.withheld.append(Withheld(keys, pairs, why))
        self.known += len(keys)

    def _admitted(self, batch: TokenizedBatch) -> TokenizedBatch:
        """Withholds released reviews that are more than may come in."""
        pairs = source_pairs(batch.rows["source"], batch.contents)
        surplus = np.zeros(len(pairs), np.bool_)
        for row in np.flatnonzero(np.isin(pairs, np.array(list(self.findings.released), np.uint64))).tolist():
            pair = int(pairs[row])
            self.admitted[pair] += 1
            if self.admitted[pair] > self.findings.released[pair]:
                self.admitted[pair] -= 1
                surplus[row] = True
        if not surplus.any():
            return batch
        self._withhold(batch.keys[surplus], pairs[surplus], np.full(np.count_nonzero(surplus), RETRACTED, np.int8))
        return batch.take(~surplus)

    def _without_superseded(self, batch: TokenizedBatch) -> TokenizedBatch:
        """Drops rows in whose place, as an earlier reading has found out, a later one with the same ID counts."""
        if not len(self.findings.last):
            return batch
        known = self.findings.last.states(batch.known_keys, batch.known_contents) == OTHER
        new = self.findings.last.states(batch.keys, batch.contents) == OTHER
        dropped = np.concatenate([batch.known_keys[known], batch.keys[new]])
        if not len(dropped):
            return batch
        self.superseded += len(dropped)
        self.known += len(dropped)
        self.superseded_keys.append(np.unique(dropped))
        return replace(
            batch.take(~new),
            known_keys=batch.known_keys[~known],
            known_contents=batch.known_contents[~known],
            known_rows=batch.known_rows.filter(pa.array(~known)),
        )

    def _without_repeated(self, batch: TokenizedBatch) -> TokenizedBatch:
        """Handles rows whose ID occurred earlier in this run: the same content is known, different content is rejected, or
        noted for the next reading. Rows that the table has count as earlier ones, too."""
        keys = np.concatenate([batch.known_keys, batch.keys])
        contents = np.concatenate([batch.known_contents, batch.contents])
        rows = np.concatenate([part["row"].to_numpy() for part in (batch.known_rows, batch.rows)])
        order = np.argsort(rows, kind="stable")
        keys, contents = keys[order], contents[order]
        in_order = self.seen.classify_and_add(keys, contents)
        if self.repeated is not None:
            several = np.isin(keys, keys[in_order != UNSEEN])
            self.repeated.add(keys[several], contents[several], in_order[several] == OTHER)
        states = np.empty(len(keys), np.int8)
        states[order] = in_order
        known, new = np.split(states, [len(batch.known_keys)])
        self.known += int(np.count_nonzero(known != OTHER) + np.count_nonzero(new == SAME))
        self._reject_repeated(batch.known_rows, known)
        self._reject_repeated(batch.rows, new)
        fresh = new == UNSEEN
        return batch if fresh.all() else batch.take(fresh)

    def _reject_repeated(self, rows: pa.RecordBatch, states: npt.NDArray[np.int8]) -> None:
        if self.repeated is not None:  # this reading is thrown away
            return
        bad = []
        for row in rows.select(["review_id", "source", "row"]).filter(pa.array(states == OTHER)).to_pylist():
            detail = f"the id {row['review_id']!r} appeared before in this run with different content"
            bad.append(BadRow(source=row["source"], row=row["row"], reason="duplicate_id", detail=detail))
        self.rejects.write(bad)

    def _without_duplicates(self, batch: TokenizedBatch, distinct: KeyIndex) -> TokenizedBatch:
        """Drops reviews whose content already exists, in the table or earlier in this run. What they replace leaves all the
        same. The table may have the content of a replaced one in a row that leaves, too: see `doubling`."""
        first = distinct.classify_and_add(batch.contents, batch.contents) == UNSEEN
        held = self.known_reviews.holds_contents(batch.contents) & ~np.isin(batch.contents, self.findings.freed)
        doubling = first & held & batch.replaced & ~np.isin(batch.contents, self.findings.staying)
        keep = (first & ~held) | doubling
        self.doubling.append(batch.contents[doubling])
        self.declined.append(batch.contents[first & ~keep])
        self.contents.append(batch.contents[batch.replaced & ~keep])
        self.deduplicated += int(np.count_nonzero(~keep))
        self.known += int(np.count_nonzero(~keep))
        return batch if keep.all() else batch.take(keep)

    def _keep(self, batch: TokenizedBatch) -> None:
        if not len(batch.rows):
            return
        self.new += len(batch.rows)
        self.tokens += batch.num_tokens
        self.labels.update(pc.unique(batch.rows["label"]).drop_null().to_pylist())
        self.targets += len(batch.rows) - batch.rows["target"].null_count
        self.contents.append(batch.contents)
        if self.counts is not None:
            counted = pc.is_in(batch.rows["split"], value_set=pa.array(COUNTED_SPLITS))
            lists = batch.tokens if pc.all(counted).as_py() else batch.tokens.filter(counted)
            self.counts.add_lists(lists)
        self.spill.write(batch.rows, batch.tokens)
