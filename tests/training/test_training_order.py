"""The laws of the order: disjoint, complete, equal steps, nothing of it depends on ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.order.options import OrderOptions, num_lanes
from pipeline.order.order import Order, lanes_of_rank
from pipeline.order.plan import EvaluationPlan, Plan, TrainPlan

GROUPS = st.lists(st.integers(0, 37), min_size=1, max_size=25).filter(lambda sizes: sum(sizes) > 0)


def lengths_of(sizes: list[int]) -> list[np.ndarray]:
    random = np.random.default_rng(7)
    return [random.integers(1, 400, size) for size in sizes]


def batches_of(plan: Plan, lengths: list[np.ndarray]) -> list[list[tuple[int, int]]]:
    """Every step's rows as (row group, row)."""
    found = []
    for window in range(len(plan.window_bounds) - 1):
        rows = [(group, row) for group, start, stop in plan.segments(window) for row in range(start, stop)]
        known = np.array([lengths[group][row] for group, row in rows], dtype=np.int64)
        found += [[rows[index] for index in batch] for batch in plan.batches(window, known)]
    return found


@settings(max_examples=60, deadline=None)
@given(
    sizes=GROUPS, batch_size=st.integers(1, 70), window=st.integers(1, 300), pool=st.integers(1, 9), epoch=st.integers(0, 3)
)
def test_every_row_once_in_batches_that_differ_by_one(
    sizes: list[int], batch_size: int, window: int, pool: int, epoch: int
) -> None:
    options = OrderOptions(batch_size=batch_size, seed=3, window_rows=window, pool_steps=pool)
    plan = TrainPlan(Order(sizes, options, epoch))
    batches = batches_of(plan, lengths_of(sizes))
    rows = [row for batch in batches for row in batch]
    assert len(rows) == len(set(rows)) == sum(sizes)
    assert len(batches) == plan.steps == -(-sum(sizes) // batch_size)
    counts = [len(batch) for batch in batches]
    assert max(counts) - min(counts) <= 1
    assert max(counts) <= batch_size
    assert counts == [plan.global_rows(step) for step in range(plan.steps)]


@settings(max_examples=40, deadline=None)
@given(sizes=GROUPS, batch_size=st.integers(8, 70), window=st.integers(1, 300), ranks=st.integers(1, 8))
def test_ranks_share_the_same_global_batches(sizes: list[int], batch_size: int, window: int, ranks: int) -> None:
    options = OrderOptions(batch_size=batch_size, seed=5, window_rows=window, pool_steps=4)
    order = Order(sizes, options, 1)
    lengths = lengths_of(sizes)
    alone = batches_of(TrainPlan(order), lengths)
    shares = [batches_of(TrainPlan(order, rank, ranks), lengths) for rank in range(ranks)]
    assert {len(share) for share in shares} == {len(alone)}, "every rank takes the same number of steps"
    for step, together in enumerate(zip(*shares, strict=True)):
        assert sorted(row for batch in together for row in batch) == sorted(alone[step])


@settings(max_examples=40, deadline=None)
@given(sizes=GROUPS, batch_size=st.integers(1, 40), ranks=st.integers(1, 8), window=st.integers(1, 200))
def test_evaluation_counts_every_row_once(sizes: list[int], batch_size: int, ranks: int, window: int) -> None:
    lengths = lengths_of(sizes)
    rows = []
    for rank in range(ranks):
        plan = EvaluationPlan(sizes, batch_size, rank, ranks, window_rows=window)
        batches = batches_of(plan, lengths)
        assert [len(batch) for batch in batches] == [plan.global_rows(step) for step in range(plan.steps)]
        rows += [row for batch in batches for row in batch]
    assert len(rows) == len(set(rows)) == sum(sizes)


def test_the_order_is_this_one_for_good() -> None:
    """Checkpoints of an older release go on only if the order stays what it was."""
    order = Order([5, 0, 9, 4], OrderOptions(batch_size=4, seed=1, window_rows=12, pool_steps=2), 2)
    batches = batches_of(TrainPlan(order), lengths_of([5, 0, 9, 4]))
    assert batches == PINNED


PINNED = [
    [(2, 1), (2, 6), (3, 1)],
    [(2, 0), (2, 5), (3, 2), (0, 1)],
    [(2, 2), (3, 0), (0, 4)],
    [(2, 3), (2, 8), (3, 3), (0, 2)],
    [(2, 4), (2, 7), (0, 0), (0, 3)],
]


def test_epochs_and_seeds_differ() -> None:
    lengths = lengths_of([50] * 8)

    def batches(seed: int, epoch: int) -> list[list[tuple[int, int]]]:
        return batches_of(TrainPlan(Order([50] * 8, OrderOptions(batch_size=16, seed=seed), epoch)), lengths)

    assert batches(0, 0) == batches(0, 0)
    assert batches(0, 0) != batches(0, 1)
    assert batches(0, 0) != batches(1, 0)


def test_batches_hold_rows_of_like_length() -> None:
    """At IMDb's spread of lengths the padding is a few per cent, where random batches would have half."""
    random = np.random.default_rng(0)
    sizes = [1000] * 19
    lengths = [np.minimum(random.gamma(2.2, 110, size).astype(int) + 5, 400) for size in sizes]
    plan = TrainPlan(Order(sizes, OrderOptions(batch_size=64), 0))
    padded = real = 0
    for batch in batches_of(plan, lengths):
        batch_lengths = [lengths[group][row] for group, row in batch]
        padded += max(batch_lengths) * len(batch)
        real += sum(batch_lengths)
    assert padded / real < 1.08


def test_a_rank_reads_about_its_share_of_the_row_groups() -> None:
    order = Order([1000] * 64, OrderOptions(batch_size=64, window_rows=8192), 0)
    for ranks in (2, 4, 8):
        for rank in range(ranks):
            plan = TrainPlan(order, rank, ranks)
            groups = {s.group for window in range(len(order.window_bounds) - 1) for s in plan.segments(window)}
            assert len(groups) <= 64 / ranks + 2


@pytest.mark.parametrize(
    ("batch_size", "lanes", "expected"),
    [(64, 16, 16), (32, 16, 16), (24, 16, 12), (7, 16, 7), (1, 16, 1), (62, 16, 8), (64, 4, 4)],
)
def test_lanes(batch_size: int, lanes: int, expected: int) -> None:
    assert num_lanes(batch_size, lanes) == expected


def test_more_ranks_than_lanes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"17 workers.*16 lanes"):
        lanes_of_rank(0, 17, 16)
