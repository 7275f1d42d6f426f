"""The validation part: whole groups, the right share of every label, the same rows every night."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.order.split import choose_validation, unit_hashes


def hashes_of(groups: list[int]) -> np.ndarray:
    return unit_hashes([f"r{row}" for row in range(len(groups))], [f"film {group}" for group in groups])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), films=st.integers(20, 90), fraction=st.sampled_from([0.1, 0.25, 0.5]))
def test_groups_stay_whole_and_labels_keep_their_share(seed: int, films: int, fraction: float) -> None:
    random = np.random.default_rng(seed)
    groups, labels = random.integers(0, films, 400).tolist(), random.integers(0, 3, 400)
    chosen = choose_validation(hashes_of(groups), labels, fraction)
    parts: dict[int, set[bool]] = {}
    for group, is_valid in zip(groups, chosen, strict=True):
        parts.setdefault(group, set()).add(bool(is_valid))
    assert all(len(sides) == 1 for sides in parts.values())
    largest = max(np.bincount(groups))
    for label in range(3):
        total, valid = int((labels == label).sum()), int((labels[chosen] == label).sum())
        assert 0 < valid <= round(total * fraction) + largest
        assert valid >= 0.5 * total * fraction - largest


def test_a_label_of_one_film_only_stays_in_training() -> None:
    labels = np.array([0, 1] * 50 + [2] * 10)
    chosen = choose_validation(hashes_of([row // 4 for row in range(100)] + [99] * 10), labels, 0.1)
    assert not (labels[chosen] == 2).any()
    assert chosen.any()


def test_single_reviews_fill_the_quota_exactly() -> None:
    labels = np.array([0] * 700 + [1] * 300)
    hashes = unit_hashes([f"r{row}" for row in range(1000)], [None] * 1000)
    chosen = choose_validation(hashes, labels, 0.1)
    assert [int((labels[chosen] == label).sum()) for label in (0, 1)] == [70, 30]


def test_reviews_added_later_do_not_reshuffle_the_validation_part() -> None:
    labels = np.arange(2000) % 2
    hashes = unit_hashes([f"r{row}" for row in range(2000)], [None] * 2000)
    before = set(np.flatnonzero(choose_validation(hashes[:1900], labels[:1900], 0.1)))
    after = set(np.flatnonzero(choose_validation(hashes, labels, 0.1)))
    assert len(before & after) >= 0.9 * len(before)


def test_a_group_and_a_review_of_the_same_name_are_two_things() -> None:
    first, second = unit_hashes(["a", "b"], [None, "a"])
    assert first != second


def test_one_group_for_everything_is_refused() -> None:
    with pytest.raises(DataError, match=r"cannot create a validation part.*Use finer groups"):
        choose_validation(hashes_of([1] * 10), np.arange(10) % 2, 0.1)


def test_one_review_of_each_label_is_refused_and_groups_are_not_to_blame() -> None:
    with pytest.raises(DataError, match=r"without training rows\. Ingest more reviews of each label, or set the split"):
        choose_validation(hashes_of(list(range(5))), np.arange(5), 0.1)


@pytest.mark.parametrize("fraction", [0.9, 0.999])
def test_a_large_validation_part_leaves_rows_of_every_label(fraction: float) -> None:
    labels = np.arange(20) % 4
    chosen = choose_validation(hashes_of(list(range(20))), labels, fraction)
    assert set(labels[~chosen]) == set(labels[chosen]) == {0, 1, 2, 3}


def test_two_large_groups_go_one_to_each_part() -> None:
    chosen = choose_validation(hashes_of([1] * 10 + [2] * 12), np.arange(22) % 2, 0.1)
    assert 0 < chosen.sum() < 22
