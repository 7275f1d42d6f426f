"""The validation part: whole groups, the right share of every label, the same rows every night."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.training.split import choose_validation, unit_hashes


def hashes_of(groups: list[int]) -> np.ndarray:
    return unit_hashes([f"r{row}" for row in range(len(groups))], [f"film {group}" for group in groups])


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), min_size=150, max_size=400),
    fraction=st.sampled_from([0.1, 0.25, 0.5]),
)
def test_groups_stay_whole_and_labels_keep_their_share(rows: list[tuple[int, int]], fraction: float) -> None:
    groups, labels = [group for group, _ in rows], np.array([label for _, label in rows])
    chosen = choose_validation(hashes_of(groups), labels, fraction)
    parts: dict[int, set[bool]] = {}
    for group, is_valid in zip(groups, chosen, strict=True):
        parts.setdefault(group, set()).add(bool(is_valid))
    assert all(len(sides) == 1 for sides in parts.values())
    for label in range(3):
        total, valid = int((labels == label).sum()), int((labels[chosen] == label).sum())
        if total > 30:
            assert 0 < valid <= round(total * fraction) + 1


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
    with pytest.raises(DataError, match="no validation part can be made"):
        choose_validation(hashes_of([1] * 10), np.arange(10) % 2, 0.1)


def test_two_large_groups_go_one_to_each_part() -> None:
    chosen = choose_validation(hashes_of([1] * 10 + [2] * 12), np.arange(22) % 2, 0.1)
    assert 0 < chosen.sum() < 22
