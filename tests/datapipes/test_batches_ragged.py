"""Reviews are dealt to batches by length, each once, within the budget."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.ragged import Ragged, plan_batches
from schemas.vocabulary import UNK_ID

IDS = pa.list_(pa.int32())


@given(st.lists(st.integers(0, 40), max_size=200), st.integers(1, 500))
def test_every_review_with_text_is_in_one_batch_and_no_batch_exceeds_the_budget(lengths: list[int], budget: int) -> None:
    array = np.array(lengths, dtype=np.int64)
    batches = plan_batches(array, budget)
    assert sorted(np.concatenate([*batches, np.array([], np.int64)]).tolist()) == np.flatnonzero(array).tolist()
    for rows in batches:
        assert len(rows) == 1 or array[rows].max() * len(rows) <= budget
    longest = [int(array[rows].max()) for rows in batches]
    assert longest == sorted(longest, reverse=True)


def test_a_batch_is_padded_to_its_longest_review() -> None:
    reviews = Ragged.from_lists(pa.array([[5, 6, 7], [8], [9, 10]], IDS), max_length=10)
    ids_BT, lengths_B = reviews.take(np.array([2, 0, 1])).padded()
    assert ids_BT.tolist() == [[9, 10, 0], [5, 6, 7], [8, 0, 0]]
    assert lengths_B.tolist() == [2, 3, 1]


def test_long_reviews_are_cut_empty_ones_become_unk_and_null_ones_have_no_length() -> None:
    ids = pa.array([None, [1, 2], [5, 6, 7, 8], [], None], IDS)[1:]
    reviews = Ragged.from_lists(ids, max_length=3)
    assert reviews.lengths.tolist() == [2, 3, 1, 0]
    assert reviews.take(np.array([1])).padded()[0].tolist() == [[5, 6, 7]]
    assert reviews.take(np.array([2])).padded()[0].tolist() == [[UNK_ID]]


def test_a_null_list_that_hides_values_has_no_length() -> None:
    hidden = pa.ListArray.from_arrays(
        pa.array([0, 2, 3], pa.int32()), pa.array([7, 8, 9], pa.int32()), mask=pa.array([True, False])
    )
    assert Ragged.from_lists(hidden, max_length=5).lengths.tolist() == [0, 1]
