"""Which reviews share a padded batch, and the padded batch itself. Plain NumPy, pure functions.

N reviews of a window, B rows of a batch, T positions.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.vocabulary import PAD_ID, UNK_ID


@dataclass(frozen=True, eq=False)
class Ragged:
    """Token ids of N reviews side by side: review n is `values[starts[n] : starts[n] + lengths[n]]`.

    `lengths` is 0 for a review without text (null); every other review has at least one id.
    """

    values: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def from_lists(cls, ids: pa.ListArray, max_length: int) -> "Ragged":
        """Views lists of ids: the first `max_length` tokens of each; an empty list becomes one `<unk>`."""
        offsets = ids.offsets.to_numpy().astype(np.int64)
        starts, lengths = offsets[:-1], np.minimum(np.diff(offsets), max_length)
        values = ids.values.to_numpy(zero_copy_only=False)
        null = ids.is_null().to_numpy(zero_copy_only=False)
        empty = (lengths == 0) & ~null
        if empty.any():
            starts = np.where(empty, len(values), starts)
            values = np.append(values, np.int32(UNK_ID))
        lengths = np.where(null, 0, np.where(empty, 1, lengths))
        return cls(values.astype(np.int32, copy=False), starts, lengths)

    def padded(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The reviews `rows` as ids (B, T), filled up with `<pad>` to the longest of them, and their lengths (B)."""
        lengths_B = self.lengths[rows]
        position_T = np.arange(lengths_B.max())
        place_BT = self.starts[rows][:, None] + position_T
        ids_BT = self.values.take(place_BT, mode="clip")
        ids_BT[position_T >= lengths_B[:, None]] = PAD_ID
        return ids_BT, lengths_B


def plan_batches(lengths: NDArray[np.int64], max_tokens: int) -> list[NDArray[np.int64]]:
    """Deals the reviews with a length above 0 to batches of neighbours in length, the longest first.

    A batch holds at most `max_tokens` positions, padding included, or one review. Longest first, because then memory
    is short at once or never, and the last batches, which some thread waits for, are the cheapest ones. A pure
    function of the lengths: the same window gives the same batches, whoever computes them.

    Returns:
        row numbers of each batch, int64 (B).
    """
    rows = np.flatnonzero(lengths)
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    batches: list[NDArray[np.int64]] = []
    begin = 0
    while begin < len(rows):
        size = max(1, max_tokens // int(lengths[rows[begin]]))
        batches.append(rows[begin : begin + size])
        begin += size
    return batches
