"""Hashed n-grams: the compiled and the NumPy form against a plain-Python reference."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.ngrams import Buckets, ngram_buckets, numpy_ngram_buckets

REVIEWS = st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=6)
FORMS = pytest.mark.parametrize("hash_reviews", [ngram_buckets, numpy_ngram_buckets])
WORD = 2**64


def _mix(state: int, word: int) -> int:
    state = (state ^ word) * 0xD6E8FEB86659FD93 % WORD
    return state ^ state >> 32


def _reference(review: list[int], ngrams: int, bits: int) -> dict[int, int]:
    """Bucket → place of the last token of its first occurrence, in the order of first occurrence."""
    found: dict[int, int] = {}
    for end in range(len(review)):
        for length in range(min(ngrams, end + 1), 0, -1):
            state = 0x9E3779B97F4A7C15
            for word in review[end - length + 1 : end + 1]:
                state = _mix(state, word)
            found.setdefault(state * 0xD6E8FEB86659FD93 % WORD >> 64 - bits, end)
    return found


def _hash(hash_reviews: Callable[..., Buckets], reviews: list[list[int]], ngrams: int, bits: int) -> Buckets:
    lengths = np.array([len(review) for review in reviews], np.int64)
    ids = np.array([word for review in reviews for word in review], np.int32)
    return hash_reviews(ids, np.cumsum(lengths) - lengths, lengths, ngrams=ngrams, bits=bits)


@FORMS
@given(reviews=REVIEWS, ngrams=st.integers(1, 5), bits=st.integers(1, 31))
def test_each_review_has_the_distinct_buckets_of_its_ngrams(
    hash_reviews: Callable[..., Buckets], reviews: list[list[int]], ngrams: int, bits: int
) -> None:
    found = _hash(hash_reviews, reviews, ngrams, bits)

    assert found.bounds[-1] == len(found.values) == len(found.ends)
    for row, review in enumerate(reviews):
        expected = _reference(review, ngrams, bits)
        part = slice(found.bounds[row], found.bounds[row + 1])
        assert found.values[part].tolist() == list(expected)
        assert found.ends[part].tolist() == list(expected.values())


@FORMS
def test_word_order_matters_and_the_length_of_an_ngram_too(hash_reviews: Callable[..., Buckets]) -> None:
    found = _hash(hash_reviews, [[3, 4], [4, 3], [3, 3]], 2, 31)

    buckets = [set(found.values[begin:end].tolist()) for begin, end in zip(found.bounds, found.bounds[1:], strict=False)]
    assert [len(bucket) for bucket in buckets] == [3, 3, 2]
    assert len(buckets[0] & buckets[1]) == 2


@FORMS
@pytest.mark.parametrize(("starts", "lengths"), [([-1], [1]), ([2], [2]), ([0], [4])])
def test_reviews_outside_of_the_ids_are_refused(
    hash_reviews: Callable[..., Buckets], starts: list[int], lengths: list[int]
) -> None:
    with pytest.raises(ValueError, match="within ids"):
        hash_reviews(np.zeros(3, np.int32), np.array(starts), np.array(lengths), ngrams=2, bits=8)
