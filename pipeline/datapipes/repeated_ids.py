"""Rows of a run that have the ID of an earlier one, for `--id-conflict last`: what the last row with each ID says."""

import numpy as np
import numpy.typing as npt

from pipeline.lake.known import KeyIndex, Keys

Part = tuple[Keys, Keys, npt.NDArray[np.bool_]]


class RepeatedIds:
    """Keys that several rows have, with the content of the last of them, and whether their contents differ.

    Takes 17 bytes for each such key, and for each of up to `most_rows` more rows.

    Args:
        most_rows: so many rows are noted before those that later ones follow are forgotten.
    """

    def __init__(self, most_rows: int = 1 << 20) -> None:
        self._most_rows = most_rows
        self._parts: list[Part] = []
        self._rows = 0

    def snapshot(self) -> tuple[list[Part], int]:
        """What `restore` takes back to. Costs nothing: the arrays are never changed."""
        return list(self._parts), self._rows

    def restore(self, snapshot: tuple[list[Part], int]) -> None:
        """Forgets what was added after the snapshot was taken."""
        self._parts, self._rows = list(snapshot[0]), snapshot[1]

    def add(self, keys: Keys, contents: Keys, differ: npt.NDArray[np.bool_]) -> None:
        """Adds (N,) rows in their order; `differ` is whether the content of each is another one than the first row's."""
        if not len(keys):
            return
        self._parts.append((keys, contents, differ))
        self._rows += len(keys)
        if self._rows > self._most_rows:
            self._parts = [self._merged()]
            self._rows = 0

    def conflicting(self) -> KeyIndex:
        """The keys whose rows differ, with the content of the last row."""
        keys, contents, differ = self._merged()
        index = KeyIndex()
        index.add(keys[differ], contents[differ])
        return index

    def _merged(self) -> Part:
        """One row for each key."""
        if not self._parts:
            return np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.bool_)
        keys, contents, differ = (np.concatenate(columns) for columns in zip(*self._parts, strict=True))
        order = np.argsort(keys, kind="stable")
        keys, contents, differ = keys[order], contents[order], differ[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        ends = np.concatenate([starts[1:], [len(keys)]]) - 1
        return keys[ends], contents[ends], np.logical_or.reduceat(differ, starts)
