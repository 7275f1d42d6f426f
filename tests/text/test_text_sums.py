"""Sums over the n-grams of reviews: compiled and in NumPy, against plain Python."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import kernels, numpy_sums
from pipeline.text.ngrams import numpy_ngram_buckets

REVIEWS = st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=6)
WORDS, BUCKETS = 31, 7
Kernel = Callable[..., Any]


def _arrays(reviews: list[list[int]]) -> tuple[Any, Any, Any]:
    """The reviews side by side, the last one first, so that starts are no running sum."""
    lengths = np.array([len(review) for review in reviews], np.int64)
    ids = np.array([word for review in reversed(reviews) for word in review], np.int32)
    return ids, len(ids) - np.cumsum(lengths), lengths


@pytest.mark.parametrize("ngram_sums", [kernels.ngram_sums, numpy_sums.ngram_sums])
@given(reviews=REVIEWS, ngrams=st.integers(1, 4), bits=st.integers(1, 8), columns=st.integers(1, 3))
def test_each_distinct_bucket_counts_once(
    ngram_sums: Kernel, reviews: list[list[int]], ngrams: int, bits: int, columns: int
) -> None:
    weights = np.random.default_rng(0).normal(size=(1 << bits, columns)).astype(np.float32)
    sums = np.full((len(reviews), columns), np.nan, np.float32)
    ngram_sums(*_arrays(reviews), ngrams, bits, weights, sums)

    found = numpy_ngram_buckets(*_arrays(reviews), ngrams=ngrams, bits=bits)
    for row in range(len(reviews)):
        buckets = found.values[found.bounds[row] : found.bounds[row + 1]]
        np.testing.assert_allclose(sums[row], weights[buckets].astype(np.float64).sum(axis=0), rtol=1e-6, atol=1e-6)


def _bag_rows(review: list[int], ngrams: int) -> list[int]:
    """The rows of the table, from the equation in models/bag.py."""
    rows = list(review)
    for end in range(len(review)):
        for length in range(2, min(ngrams, end + 1) + 1):
            state = review[end - length + 1]
            for word in review[end - length + 2 : end + 1]:
                state = (state * 116_049_371 + word) % (2**31 - 1)
            rows.append(WORDS + state % (BUCKETS - 1) + 1)
    return rows


@pytest.mark.parametrize("bag_sums", [kernels.bag_sums, numpy_sums.bag_sums])
@given(reviews=REVIEWS, ngrams=st.integers(1, 5), columns=st.integers(1, 3))
def test_a_bag_sums_words_and_ngrams(bag_sums: Kernel, reviews: list[list[int]], ngrams: int, columns: int) -> None:
    table = np.random.default_rng(1).normal(size=(WORDS + BUCKETS, columns)).astype(np.float32)
    sums = np.full((len(reviews), columns), np.nan, np.float32)
    bag_sums(*_arrays(reviews), ngrams, WORDS, table, sums)

    for row, review in enumerate(reviews):
        expected = table[_bag_rows(review, ngrams)].astype(np.float64).sum(axis=0)
        np.testing.assert_allclose(sums[row], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bag_sums", [kernels.bag_sums, numpy_sums.bag_sums])
@pytest.mark.parametrize(("ids", "start"), [([WORDS], 0), ([-1], 0), ([1], 1)])
def test_a_bag_refuses_what_is_outside(bag_sums: Kernel, ids: list[int], start: int) -> None:
    table, sums = np.zeros((WORDS + BUCKETS, 1), np.float32), np.zeros((1, 1), np.float32)
    with pytest.raises(ValueError, match="within"):
        bag_sums(np.array(ids, np.int32), np.array([start]), np.array([1]), 2, WORDS, table, sums)
