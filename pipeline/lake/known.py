"""Which reviews are already known: 16 bytes per review, looked up one batch at a time.

A review's key is the first 64 bits of the SHA-256 of its ID, its content the first 64 bits of its content hash. Two IDs
can share a key, though very rarely; code that replaces rows compares the IDs themselves, so nothing is lost.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake.shards import Shard, open_shard
from pipeline.text.columns import Digests, find_keys, sha256_rows

Keys = npt.NDArray[np.uint64]

UNSEEN, SAME, OTHER = 0, 1, 2
"""States of a review: its key is unknown; known with the same content; known with other content."""


class Known(Protocol):
    """Reviews by key and by content."""

    def states(self, keys: Keys, contents: Keys) -> npt.NDArray[np.int8]:
        """UNSEEN, SAME or OTHER for each of the (N,) keys."""
        ...

    def holds_contents(self, contents: Keys) -> npt.NDArray[np.bool_]:
        """Which of the (N,) contents a review has."""
        ...


class KeyIndex:
    """A growing map from key to content, as few sorted arrays, each several times as large as the next one."""

    GROWTH = 4
    """How many times. More make look-ups faster and additions slower."""

    def __init__(self) -> None:
        self._levels: list[tuple[Keys, Keys]] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self._levels)

    def __or__(self, other: "KeyIndex") -> "KeyIndex":
        """What either holds; where both hold a key, this one's content."""
        both = KeyIndex()
        both._levels = list(self._levels)
        for keys, contents in other._levels:
            new = self._states(keys, contents) == UNSEEN
            both._add(keys[new], contents[new])
        return both

    def snapshot(self) -> list[tuple[Keys, Keys]]:
        """What `restore` takes back to. Costs nothing: the arrays are never changed."""
        return list(self._levels)

    def restore(self, snapshot: list[tuple[Keys, Keys]]) -> None:
        """Makes the index what it was when the snapshot was taken."""
        self._levels = list(snapshot)

    def keys(self) -> Keys:
        """(N,) keys, in no particular order."""
        return np.concatenate([np.zeros(0, np.uint64), *(keys for keys, _ in self._levels)])

    def holds_contents(self, contents: Keys) -> npt.NDArray[np.bool_]:
        """Which of the (N,) contents a review has."""
        held = np.zeros(len(contents), np.bool_)
        for _, level in self._levels:
            held |= np.isin(contents, level)
        return held

    def states(self, keys: Keys, contents: Keys) -> npt.NDArray[np.int8]:
        """UNSEEN, SAME or OTHER for each of the (N,) keys."""
        order = np.argsort(keys)
        states = np.empty(len(keys), np.int8)
        states[order] = self._states(keys[order], contents[order])
        return states

    def add(self, keys: Keys, contents: Keys) -> None:
        """Adds (N,) keys with their contents; the caller sees to it that none is in the index."""
        order = np.argsort(keys, kind="stable")
        self._add(keys[order], contents[order])

    def classify_and_add(self, keys: Keys, contents: Keys) -> npt.NDArray[np.int8]:
        """States of the (N,) keys, those that stand earlier in the same batch counted as known; adds the unseen ones."""
        order = np.argsort(keys, kind="stable")
        keys, contents = keys[order], contents[order]
        found = self._states(keys, contents)
        repeats = np.zeros(len(keys), np.bool_)
        np.equal(keys[1:], keys[:-1], out=repeats[1:])
        if repeats.any():
            leader = np.maximum.accumulate(np.where(repeats, 0, np.arange(len(keys))))
            unseen = np.flatnonzero(repeats & (found == UNSEEN))
            found[unseen] = np.where(contents[leader[unseen]] == contents[unseen], SAME, OTHER)
        new = found == UNSEEN
        self._add(keys[new], contents[new])
        states = np.empty(len(keys), np.int8)
        states[order] = found
        return states

    def _states(self, keys: Keys, contents: Keys) -> npt.NDArray[np.int8]:
        """`states` of sorted keys, of which consecutive look-ups hit the same cache lines."""
        states = np.zeros(len(keys), np.int8)
        for level_keys, level_contents in self._levels:
            places = find_keys(level_keys, keys)
            found = np.flatnonzero(places >= 0)
            if len(found):
                states[found] = np.where(level_contents[places[found]] == contents[found], SAME, OTHER)
        return states

    def _add(self, keys: Keys, contents: Keys) -> None:
        """`add` for sorted keys."""
        if not len(keys):
            return
        level = (keys, contents)
        while self._levels and len(self._levels[-1][0]) < self.GROWTH * len(level[0]):
            before = self._levels.pop()
            merged = np.concatenate([before[0], level[0]])
            order = np.argsort(merged, kind="stable")
            level = (merged[order], np.concatenate([before[1], level[1]])[order])
        self._levels.append(level)


def keys_of(review_ids: pa.Array | pa.ChunkedArray | Iterable[str]) -> Keys:
    """(N,) keys of review ids: strings, or their UTF-8 as binary."""
    if isinstance(review_ids, pa.ChunkedArray):
        return np.concatenate([np.zeros(0, np.uint64), *map(keys_of, review_ids.chunks)])
    ids = review_ids if isinstance(review_ids, pa.Array) else pa.array(list(review_ids), pa.string())
    return first_bits(sha256_rows(ids))


def first_bits(digests: Digests) -> Keys:
    """(N,) the first 64 bits of digests."""
    return np.ascontiguousarray(digests[:, :8]).view(">u8").ravel().astype(np.uint64)


def contents_of(content_sha256: Iterable[str]) -> Keys:
    """(N,) contents from hex digests."""
    return np.frombuffer(bytes.fromhex("".join([digest[:16] for digest in content_sha256])), ">u8").astype(np.uint64)


def shards_holding(
    shards: Sequence[Shard], review_ids: pa.Array, *, all_of_them: bool = False
) -> list[tuple[Shard, pa.Array]]:
    """Shards that hold any of the ids, each with a mask of the rows to keep; compares the ids themselves."""
    holding = []
    for shard in shards:
        with open_shard(shard.path) as file:
            ids = file.read(columns=["review_id"])["review_id"].combine_chunks()
        hit = pc.is_in(ids, value_set=review_ids)
        if all_of_them or pc.any(hit).as_py():
            holding.append((shard, pc.invert(hit)))
    return holding
