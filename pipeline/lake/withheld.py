"""Reviews that must not come in again: rows that were retracted, and reviews that were erased.

The lists hold digests alone. They are not salted: the salt would have to lie beside them, where every ingest finds it, so it
would protect nobody from someone who has the lake; and the digests of ids are those by which ingest knows reviews anyway.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.lake.known import Keys, keys_of
from pipeline.lake.paths import Lake
from pipeline.lake.review_keys import ReviewKeys, key_files, read_keys
from schemas.bad_row import BadRow

log = logging.getLogger(__name__)

FREE, RETRACTED, ERASED = 0, 1, 2
"""States of a review."""
_MIX = np.uint64(0x9E3779B97F4A7C15)
NOTHING = np.zeros(0, np.uint64)


def placed_id(source: str, row: int) -> str:
    """The id of a row of a table without an id column. It names a place, where another review may be later."""
    return f"{source}#{row}"


@dataclass(frozen=True, slots=True)
class _List:
    """Some lists of one kind as sorted arrays."""

    ids: Keys = field(default_factory=lambda: NOTHING)
    """Reviews withheld whatever their content."""
    places: Keys = field(default_factory=lambda: NOTHING)
    """Rows of files that the table did not have: nothing of them is quoted, but another review may stand there later."""
    contents: Keys = field(default_factory=lambda: NOTHING)
    pairs: Keys = field(default_factory=lambda: NOTHING)
    """Contents together with an id or a source."""
    named: Keys = field(default_factory=lambda: NOTHING)
    """All reviews that are in the lists."""
    standing: Keys = field(default_factory=lambda: NOTHING)
    """The pairs that stand for a row of the table, and its content: see `ReviewKeys.stands_for`."""
    stands_for: Keys = field(default_factory=lambda: NOTHING)

    @classmethod
    def of(cls, lists: Sequence[ReviewKeys]) -> "_List":
        ids = [NOTHING]
        places = [NOTHING]
        contents = [NOTHING]
        pairs = [NOTHING]
        standing = [NOTHING]
        stands_for = [NOTHING]
        for keys in lists:
            content, without = keys.content
            source, unknown = keys.source
            ids.append(keys.review[without & unknown])
            places.append(keys.review[without & ~unknown])
            contents.append(content[~without])
            pairs.append(pairs_of(keys.review[~without], content[~without]))
            placed = ~without & ~unknown
            pairs.append(pairs_of(source[placed], content[placed]))
            there = placed & ~keys.stands_for[1]
            standing.append(pairs_of(source[there], content[there]))
            stands_for.append(keys.stands_for[0][there])
        named = [NOTHING, *(keys.review for keys in lists)]
        found, first = np.unique(np.concatenate(standing), return_index=True)
        return cls(
            ids=np.unique(np.concatenate(ids)),
            places=np.unique(np.concatenate(places)),
            contents=np.unique(np.concatenate(contents)),
            pairs=np.unique(np.concatenate(pairs)),
            named=np.unique(np.concatenate(named)),
            standing=found,
            stands_for=np.concatenate(stands_for)[first],
        )

    def __len__(self) -> int:
        return len(self.ids) + len(self.contents)

    def holds(self, keys: Keys, contents: Keys, sources: pa.StringArray) -> npt.NDArray[np.bool_]:
        held = _in(keys, self.ids)
        likely = np.flatnonzero(_in(contents, self.contents) & ~held)
        if len(likely):
            here = contents[likely]
            by_id = _in(pairs_of(keys[likely], here), self.pairs)
            by_source = _in(pairs_of(keys_of(sources.take(pa.array(likely))), here), self.pairs)
            held[likely] = by_id | by_source
        return held


@dataclass(frozen=True, slots=True)
class Withheld:
    """The lists of a lake. A retracted row is withheld by its content together with its id, or, where the id is only its
    place, with its source; an erased review by its id, whatever its content, if the id is its own.

    `released`: contents together with a source that are let in elsewhere than where they were, because the table has, or had
    until this run, another review with the same content from there.
    """

    retracted: _List = field(default_factory=_List)
    erased: _List = field(default_factory=_List)
    released: Keys = field(default_factory=lambda: NOTHING)

    @classmethod
    def load(cls, lake: Lake, *, without: str = "") -> "Withheld":
        """Reads the lists.

        Args:
            without: a run whose retraction does not count.

        Raises:
            DataError: a list is damaged.
        """
        retracted = [read_keys(path) for path in key_files(lake.retracted) if path.stem != without]
        return cls(_List.of(retracted), _List.of([read_keys(path) for path in key_files(lake.erased)]))

    def __bool__(self) -> bool:
        return bool(len(self.retracted) or len(self.erased))

    def states(self, keys: Keys, contents: Keys, sources: pa.StringArray) -> npt.NDArray[np.int8]:
        """FREE, RETRACTED or ERASED for each of (N,) reviews.

        Args:
            sources: of each review, as a row's `source`.
        """
        states = np.zeros(len(keys), np.int8)
        states[self.retracted.holds(keys, contents, sources)] = RETRACTED
        states[self.erased.holds(keys, contents, sources)] = ERASED
        if len(self.released) and (held := np.flatnonzero(states)).size:
            pairs = self.elsewhere(keys[held], contents[held], sources.take(pa.array(held)))
            states[held[_in(pairs, self.released)]] = FREE
        return states

    def elsewhere(self, keys: Keys, contents: Keys, sources: pa.StringArray) -> Keys:
        """(N,) contents together with sources, as `source_pairs`, of withheld reviews; 0 for those that have the id under
        which they are in a list."""
        own = pairs_of(keys, contents)
        listed = _in(own, self.retracted.pairs) | _in(own, self.erased.pairs)
        return np.where(listed, np.uint64(0), source_pairs(sources, contents))

    def stands_for(self, contents: Keys, sources: pa.StringArray) -> Keys:
        """(N,) contents of the rows of the table that retracted rows stand for; 0 for those that stand for none."""
        held = self.retracted
        if not len(held.standing):
            return np.zeros(len(contents), np.uint64)
        pairs = source_pairs(sources, contents)
        places = np.minimum(np.searchsorted(held.standing, pairs), len(held.standing) - 1)
        return np.where(held.standing[places] == pairs, held.stands_for[places], np.uint64(0))

    def erases(self, review_ids: Sequence[str | None]) -> npt.NDArray[np.bool_]:
        """Which of (N,) ids were erased whatever the content."""
        return _ids_in(review_ids, self.erased.ids)

    def has_erased(self, review_ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of (N,) ids were ever erased, whatever is noted of them."""
        return _ids_in(review_ids, self.erased.named)

    def blanks(self, review_ids: Sequence[str | None]) -> npt.NDArray[np.bool_]:
        """Of which of (N,) ids rejects have neither excerpt nor detail."""
        return _ids_in(review_ids, np.union1d(self.erased.ids, self.erased.places))

    def blanked(self, bad: Iterable[BadRow]) -> list[BadRow]:
        """Rejects, those of erased reviews without a word of theirs."""
        rows = list(bad)
        if not rows or not (len(self.erased.ids) or len(self.erased.places)):
            return rows
        placed = self.blanks([placed_id(row.source, row.row) for row in rows])
        named = self.blanks([row.source for row in rows])
        return [blank(row) if gone else row for row, gone in zip(rows, (placed | named).tolist(), strict=True)]


def blank(row: BadRow) -> BadRow:
    """A reject that tells its place and reason alone."""
    return replace(row, detail="erased on request", excerpt=b"", value="")


def _ids_in(review_ids: Sequence[str | None], held: Keys) -> npt.NDArray[np.bool_]:
    if not len(held):
        return np.zeros(len(review_ids), np.bool_)
    # Ids that are not UTF-8 were never in the table.
    return _in(keys_of([(text or "").encode(errors="replace").decode() for text in review_ids]), held)


def _in(values: Keys, held: Keys) -> npt.NDArray[np.bool_]:
    if not len(held):
        return np.zeros(len(values), np.bool_)
    places = np.minimum(np.searchsorted(held, values), len(held) - 1)
    return np.asarray(held[places] == values)


def source_pairs(sources: pa.StringArray, contents: Keys) -> Keys:
    """(N,) sources and contents together."""
    return pairs_of(keys_of(sources), contents)


def pairs_of(first: Keys, second: Keys) -> Keys:
    """One number for two. Both are digests, so that two pairs hardly ever share it."""
    return first * _MIX ^ second
