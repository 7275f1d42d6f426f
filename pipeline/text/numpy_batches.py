"""The batches of `_kernels.c` in NumPy, for installations without a compiler: rows of tokens, padded or side by side.

The rows are `values[starts[i] : starts[i] + lengths[i]]`.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


def pad(values: Ints, starts: Longs, lengths: Longs, positions: int, padded: Ints) -> None:
    """Writes the rows, filled up with zeros, into `padded` (rows, positions).

    Raises:
        ValueError: rows outside the values, or longer than the padded ones.
    """
    if not _are_within(values, starts, lengths) or (lengths > positions).any():
        raise ValueError("pad: rows within the values, and no longer than the padded ones, are needed")
    if padded.size and len(values):
        position_T = np.arange(positions)
        values.take(starts[:, None] + position_T, mode="clip", out=padded)
        padded[position_T >= lengths[:, None]] = 0
    else:
        padded[:] = 0


def join(values: Ints, starts: Longs, lengths: Longs, tokens: Longs) -> None:
    """Writes the tokens of the rows side by side into `tokens`.

    Raises:
        ValueError: rows outside the values, or another number of tokens.
    """
    if not _are_within(values, starts, lengths) or len(tokens) != lengths.sum():
        raise ValueError("join: rows within the values, and room for all of their tokens, are needed")
    before = np.cumsum(lengths) - lengths
    tokens[:] = values[np.arange(len(tokens)) + np.repeat(starts - before, lengths)]


def pack(values: Ints, starts: Longs, lengths: Longs, counts: Longs, tokens: Ints, mirrored: Ints) -> None:
    """Writes the number of rows that have a token at each position; the tokens of position 0, then those of position 1, …;
    and, unless `mirrored` is empty, where the token stands that a reader from the end of the row meets there.

    Raises:
        ValueError: rows outside the values, an empty one, rows that are not sorted by length, the longest first, or
            another number of positions or tokens.
    """
    fits = len(lengths) and _are_within(values, starts, lengths) and lengths[-1] > 0 and (np.diff(lengths) <= 0).all()
    if not fits or len(counts) != lengths[0] or len(tokens) != lengths.sum():
        raise ValueError("pack: rows within the values, the longest first, and room for all tokens are needed")
    position_T1 = np.arange(len(counts))[:, None]
    inside_TB = position_T1 < lengths
    counts[:] = inside_TB.sum(axis=1)
    tokens[:] = values[(starts + position_T1)[inside_TB]]
    if len(mirrored):
        begins = np.cumsum(counts) - counts
        mirrored[:] = (begins[(lengths - 1 - position_T1).clip(0)] + np.arange(len(lengths)))[inside_TB]


def _are_within(values: Ints, starts: Longs, lengths: Longs) -> bool:
    return bool((starts >= 0).all() and (lengths >= 0).all() and (starts + lengths <= len(values)).all())
