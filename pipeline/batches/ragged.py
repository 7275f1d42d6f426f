"""Reviews of different lengths side by side, the padded batch made of them, and which of them share one. Pure functions.

N reviews of a window, B rows of a batch, T positions.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.text.kernels import join, pack, pad
from schemas.vocabulary import PAD_ID, UNK_ID

assert PAD_ID == 0, "the kernel fills up with zeros"


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

    @classmethod
    def of_padded(cls, ids_BT: NDArray[np.int32], lengths_B: NDArray[np.int64]) -> "Ragged":
        """Views a padded batch."""
        rows, positions = ids_BT.shape
        return cls(ids_BT.reshape(-1), np.arange(rows, dtype=np.int64) * positions, lengths_B)

    def head(self, max_length: int) -> "Ragged":
        """The first `max_length` tokens of each review, over the same values."""
        return Ragged(self.values, self.starts, np.minimum(self.lengths, max_length))

    def take(self, rows: NDArray[np.int64]) -> "Ragged":
        """The reviews `rows`, over the same values."""
        return Ragged(self.values, self.starts[rows], self.lengths[rows])

    def padded(self, multiple: int = 1) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """All reviews as ids (B, T), filled up with `<pad>`, and their lengths (B); `take` chooses among them.

        T is the longest length, rounded up to a multiple of `multiple`.
        """
        positions = -(-int(self.lengths.max()) // multiple) * multiple
        ids_BT = np.empty((len(self.lengths), positions), np.int32)
        pad(self.values, self.starts, self.lengths, positions, ids_BT)
        return ids_BT, self.lengths

    def joined(self) -> NDArray[np.int64]:
        """The tokens of all reviews, one review after the other: int64 (N,)."""
        tokens = np.empty(int(self.lengths.sum()), np.int64)
        join(self.values, self.starts, self.lengths, tokens)
        return tokens

    def packed(self, *, mirrored: bool) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """The tokens of reviews that are sorted by length, the longest first: those at position 0, then at position 1, ….

        Returns:
            the number of reviews with a token at each position (T,); the tokens (N,); if `mirrored`, the place of the token
            that a reader from the end of the review meets instead, its own inverse (N,), else nothing.
        """
        counts = np.empty(int(self.lengths[0]), np.int64)
        tokens = np.empty(int(self.lengths.sum()), np.int32)
        places = np.empty(len(tokens) if mirrored else 0, np.int32)
        pack(self.values, self.starts, self.lengths, counts, tokens, places)
        return counts, tokens, places


def plan_batches(lengths: NDArray[np.int64], max_tokens: int) -> list[NDArray[np.int64]]:
    """Divides the reviews with a length above 0 into batches of similar lengths, the longest first.

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
