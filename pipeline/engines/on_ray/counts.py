"""Counts the tokens of a vocabulary where the tokens are, and merges the counts as a tree: what comes back is one table."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from pipeline.datapipes.tokens_elsewhere import TokensElsewhere
from pipeline.engines.on_ray.cluster import Cluster
from pipeline.text.vocabulary import TokenCounts

FAN_IN = 16
"""Batches of one count, and counts of one merge."""


class TreeCounts:
    """Counts of batches that tasks keep. The driving process holds a reference for each count that is not merged yet, of
    which there are fewer than `FAN_IN` a level.

    A task drops the rarest tokens where there are more than `TokenCounts.KEPT_BYTES` of them, as a process of its own does;
    only then, which ones may differ.
    """

    def __init__(self, connected: Callable[[], Cluster]) -> None:
        self._connected = connected
        self._batches: list[TokensElsewhere] = []
        self._levels: list[list[Any]] = []
        self._total: tuple[pa.Table, int] | None = None

    @property
    def dropped(self) -> int:
        """How often a distinct token was dropped to stay within the memory."""
        return self._whole()[1]

    def add_lists(self, tokens: TokensElsewhere) -> None:
        """Adds a batch."""
        self._total = None
        if not len(tokens.row_N):
            return
        self._batches.append(tokens)
        if len(self._batches) == FAN_IN:
            self._count()

    def snapshot(self) -> tuple[list[TokensElsewhere], list[list[Any]]]:
        """A state for `restore`; holds references to what was merged since."""
        return list(self._batches), [list(level) for level in self._levels]

    def restore(self, snapshot: tuple[list[TokensElsewhere], list[list[Any]]]) -> None:
        """Makes the counts what they were when the snapshot was taken."""
        self._total = None
        self._batches, self._levels = list(snapshot[0]), [list(level) for level in snapshot[1]]

    def total(self) -> pa.Table:
        """token: string, count: int64; rows in no particular order, none with count 0."""
        return self._whole()[0]

    def _whole(self) -> tuple[pa.Table, int]:
        if self._total is None:
            if self._batches:
                self._count()
            cluster = self._connected()
            parts = [part for level in self._levels for part in level]
            self._total = cluster.get(cluster.call(merge_counts, *parts))
            self._levels = []
            assert self._total is not None
        return self._total

    def _count(self) -> None:
        places = dict.fromkeys(batch.place.reference for batch in self._batches)
        number = {reference: at for at, reference in enumerate(places)}
        rows = [(number[batch.place.reference], batch.place.batch, batch.row_N) for batch in self._batches]
        self._batches = []
        self._put(0, self._connected().call(count_tokens, rows, *places))

    def _put(self, level: int, part: Any) -> None:
        if level == len(self._levels):
            self._levels.append([])
        parts = self._levels[level] = [*self._levels[level], part]
        if len(parts) == FAN_IN:
            self._levels[level] = []
            self._put(level + 1, self._connected().call(merge_counts, *parts))


def count_tokens(rows: list[tuple[int, int, Any]], *bodies: list[pa.RecordBatch | None]) -> tuple[pa.Table, int]:
    """Counts the tokens of rows.

    Args:
        rows: number of the body, number of its batch, and rows of that.

    Returns:
        token and count, and how often a token was dropped.
    """
    counts = TokenCounts()
    for body, batch, row_N in rows:
        found = bodies[body][batch]
        assert found is not None
        lists = found["tokens"]
        counts.add_lists(lists if len(row_N) == len(lists) else lists.take(pa.array(row_N)))
    return counts.total(), counts.dropped


def merge_counts(*parts: tuple[pa.Table, int]) -> tuple[pa.Table, int]:
    """Merges what `count_tokens` or this function gave."""
    counts = TokenCounts()
    for table, _ in parts:
        counts.add_counts(table)
    return counts.total(), counts.dropped + sum(dropped for _, dropped in parts)
