"""The n-grams of reviews, hashed: which of 2^bits buckets each review touches, each bucket once.

    h_1(t) = mix(seed, w_t),   h_n(t) = mix(h_{n−1}(t − 1), w_t),   bucket = h_n(t) · k  >>  (64 − bits)

w_t: the id of token t; mix(h, w): ((h ⊕ w) · k), its upper half exclusive-ored into the lower one; all of it modulo 2^64.
Models depend on these numbers: they never change.

Source: Weinberger et al. 2009, "Feature hashing for large scale multitask learning", section 2.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.text.ngram_limits import MAX_BITS, MAX_NGRAMS

try:
    from pipeline.text import _kernels
except ImportError:
    _compiled = None
else:
    # A module compiled by an earlier release lacks the function.
    _compiled = getattr(_kernels, "ngram_buckets", None)

SEED = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)


class Buckets(NamedTuple):
    """The distinct buckets of N reviews side by side; review i has those from `bounds[i]` to `bounds[i + 1]`."""

    values: npt.NDArray[np.int32]
    """In order of first occurrence."""
    ends: npt.NDArray[np.int32]
    """The position in the review of the last token of that first occurrence."""
    bounds: npt.NDArray[np.int64]
    """(N + 1,)"""


def ngram_buckets(
    ids: npt.NDArray[np.int32],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    *,
    ngrams: int,
    bits: int,
) -> Buckets:
    """Hashes the 1- to `ngrams`-grams of the reviews `ids[starts[i] : starts[i] + lengths[i]]` into 2^`bits` buckets.

    Raises:
        ValueError: more than `MAX_NGRAMS` or `MAX_BITS`, or reviews outside `ids`.
    """
    if _compiled is None:
        return numpy_ngram_buckets(ids, starts, lengths, ngrams=ngrams, bits=bits)
    arrays = (np.ascontiguousarray(ids), np.ascontiguousarray(starts), np.ascontiguousarray(lengths))
    values, ends, bounds = _compiled(*arrays, ngrams, bits)
    return Buckets(np.frombuffer(values, np.int32), np.frombuffer(ends, np.int32), np.frombuffer(bounds, np.int64))


def numpy_ngram_buckets(
    ids: npt.NDArray[np.int32],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    *,
    ngrams: int,
    bits: int,
) -> Buckets:
    """The same as `ngram_buckets`, without the compiled kernel."""
    inside = (starts >= 0) & (lengths >= 0) & (starts + lengths <= len(ids))
    if not (1 <= ngrams <= MAX_NGRAMS and 1 <= bits <= MAX_BITS and inside.all()):
        raise ValueError("ngram_buckets: 1 to 16 n-grams, 1 to 31 bits and reviews within ids are needed")
    row_M = np.repeat(np.arange(len(lengths)), lengths)
    place_M = np.arange(len(row_M)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    words_M = ids[starts[row_M] + place_M].astype(np.uint32).astype(np.uint64)
    bucket_MN = np.full((len(row_M), ngrams), -1, np.int64)
    hash_M = _mixed(np.full(len(row_M), SEED), words_M)
    for length in range(1, ngrams + 1):
        if length > 1:
            hash_M = _mixed(np.concatenate([hash_M[:1], hash_M[:-1]]), words_M)
        bucket_M = (hash_M * MULTIPLIER >> np.uint64(64 - bits)).astype(np.int64)
        # The longest n-gram that ends at a token comes first, as in the compiled kernel.
        bucket_MN[:, ngrams - length] = np.where(place_M >= length - 1, bucket_M, -1)
    flat = np.flatnonzero(bucket_MN.ravel() >= 0)
    token = flat // ngrams
    key = (row_M[token] << np.int64(bits)) | bucket_MN.ravel()[flat]
    first = np.sort(np.unique(key, return_index=True)[1])
    token = token[first]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(row_M[token], minlength=len(lengths)))]).astype(np.int64)
    return Buckets(bucket_MN.ravel()[flat[first]].astype(np.int32), place_M[token].astype(np.int32), bounds)


def _mixed(hash_M: npt.NDArray[np.uint64], words_M: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    product_M = (hash_M ^ words_M) * MULTIPLIER
    return product_M ^ (product_M >> np.uint64(32))
