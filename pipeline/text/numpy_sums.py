"""The sums over n-grams of `_kernels.c` in NumPy, for installations without a compiler."""

import numpy as np
import numpy.typing as npt

from pipeline.text.ngrams import numpy_ngram_buckets

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

MULTIPLIER, PRIME = 116_049_371, 2**31 - 1
"""The hash of a bag's n-grams, see `models/bag.py`."""


def ngram_sums(ids: Ints, starts: Longs, lengths: Longs, ngrams: int, bits: int, weights: Floats, sums: Floats) -> None:
    """Writes the sum of the weights (2^bits, C) of each review's distinct buckets into `sums` (reviews, C); see `ngrams.py`.

    Raises:
        ValueError: more n-grams or bits than there may be, or reviews outside `ids`.
    """
    found = numpy_ngram_buckets(ids, starts, lengths, ngrams=ngrams, bits=bits)
    _sum_rows(weights[found.values], np.diff(found.bounds), sums)


def bag_sums(ids: Ints, starts: Longs, lengths: Longs, ngrams: int, words: int, table: Floats, sums: Floats) -> None:
    """Writes the sum of the rows of `table` (words + buckets, C) for each review's words and n-grams into `sums`.

    Raises:
        ValueError: reviews outside `ids`, or an ID that is not among the words.
    """
    if (starts < 0).any() or (starts + lengths > len(ids)).any():
        raise ValueError("bag_sums: reviews within ids are needed")
    row_M = np.repeat(np.arange(len(lengths)), lengths)
    place_M = np.arange(len(row_M)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    word_M = ids[starts[row_M] + place_M].astype(np.int64)
    if ((word_M < 0) | (word_M >= words)).any():
        raise ValueError("bag_sums: ids within the words of the table are needed")
    buckets = len(table) - words
    said_MC = table[word_M].astype(np.float64)
    hash_M = word_M
    for length in range(2, ngrams + 1):
        hash_M = (np.concatenate([hash_M[:1], hash_M[:-1]]) * MULTIPLIER + word_M) % PRIME
        whole_M = place_M >= length - 1
        said_MC[whole_M] += table[words + hash_M[whole_M] % (buckets - 1) + 1]
    _sum_rows(said_MC, lengths, sums)


def _sum_rows(values_MC: npt.NDArray[np.floating], lengths: Longs, sums: Floats) -> None:
    """The sum of the next `lengths[i]` rows, for each i."""
    sums[:] = 0
    filled = lengths > 0
    if filled.any():
        starts = (np.cumsum(lengths) - lengths)[filled]
        sums[filled] = np.add.reduceat(values_MC.astype(np.float64), starts, axis=0)
