"""Folds of a cross-validation: which reviews are held out. A pure function of each review's group or id."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import UsageError

if TYPE_CHECKING:  # options are imported without NumPy
    import numpy as np
    import numpy.typing as npt

MAX_FOLDS = 1000


@dataclass(frozen=True)
class Fold:
    """Fold `index` (from 0) of `count`: the held-out one."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> "Fold":
        """Parses "0/5", the first of five folds.

        Raises:
            UsageError: anything else.
        """
        match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
        index, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not (2 <= count <= MAX_FOLDS and index < count):
            raise UsageError(f"--fold {text}: expected INDEX/COUNT such as 0/5, the first of five folds.")
        return cls(index, count)


def folds_of(review_ids: Sequence[str], groups: Sequence[str | None], count: int) -> "npt.NDArray[np.int64]":
    """The fold of each review: the first 8 bytes of the SHA-256 of its group, big-endian, modulo `count`.

    Reviews without a group use their ID.
    """
    import numpy as np

    known: dict[str, int] = {}
    folds = np.empty(len(review_ids), np.int64)
    for row, (review_id, group) in enumerate(zip(review_ids, groups, strict=True)):
        if group is None:
            folds[row] = _fold(review_id, count)
        else:
            if group not in known:
                known[group] = _fold(group, count)
            folds[row] = known[group]
    return folds


def _fold(name: str, count: int) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % count
