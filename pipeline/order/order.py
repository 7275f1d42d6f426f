"""Which review is in which batch: pure functions of plain numbers, independent of ranks and workers.

N selected rows make S = ceil(N / B) steps; step s covers the global positions [s·N // S, (s+1)·N // S), so batches
differ by at most one row and none is ragged. Position p belongs to lane p mod L, as its element p // L. The row groups
are permuted, strung together, and every lane takes a contiguous cut of that string: a lane, and with it a rank, reads
few row groups. Within a lane the rows of a window of steps are permuted; in pools of consecutive steps they are sorted
by length and dealt out so that all lanes give the same length quantile to the same step.

Everything is keyed by (seed, epoch, lane, window). Random numbers are raw PCG64 output, which NumPy guarantees to be
stable, and stable sorts of them; `Generator.permutation` has no such guarantee.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import UsageError
from pipeline.order.options import OrderOptions

Ints = npt.NDArray[np.int64]

_GROUPS, _LANE, _DEAL = 0, 1, 2


class Segment(NamedTuple):
    """Selected rows [start, stop) of a row group; `group` is its index over all shards in order."""

    group: int
    start: int
    stop: int


def num_steps(rows: int, batch_size: int) -> int:
    """Steps of an epoch: ceil(rows / batch_size)."""
    return -(-rows // batch_size)


def lanes_of_rank(rank: int, num_ranks: int, lanes: int) -> range:
    """The lanes of a rank: [rank·L // R, (rank+1)·L // R).

    Raises:
        UsageError: more ranks than lanes.
    """
    if num_ranks > lanes:
        raise UsageError(
            f"{num_ranks} workers, but the global batch has only {lanes} lanes, and each worker needs at least one. "
            f"Use up to {lanes} workers, or a larger --batch-size or --lanes (both change the order of training)."
        )
    return range(rank * lanes // num_ranks, (rank + 1) * lanes // num_ranks)


def even_bounds(total: int, parts: int) -> Ints:
    """`parts` + 1 bounds that cut `total` things into parts that differ by at most one."""
    return np.arange(parts + 1, dtype=np.int64) * total // max(parts, 1)


def permutation(size: int, seed: int, *key: int) -> Ints:
    """A permutation of range(size), a function of the seed and the key alone."""
    return _permutation(_random(seed, *key), size)


@dataclass(frozen=True)
class Order:
    """The order of one epoch. `rows_per_group`: selected rows of each row group, in the order of the shards."""

    rows_per_group: Sequence[int]
    options: OrderOptions
    epoch: int

    @cached_property
    def rows(self) -> int:
        """N, the rows of an epoch."""
        return int(sum(self.rows_per_group))

    @cached_property
    def steps(self) -> int:
        """S, the steps of an epoch."""
        return num_steps(self.rows, self.options.batch_size)

    @cached_property
    def step_bounds(self) -> Ints:
        """S + 1 global positions; step s covers [bounds[s], bounds[s+1])."""
        return even_bounds(self.rows, self.steps)

    @cached_property
    def window_bounds(self) -> Ints:
        """Steps at which windows begin, and S. Windows have similar sizes, about `window_rows` rows over all lanes."""
        steps = max(1, self.options.window_rows // self.options.batch_size)
        return even_bounds(self.steps, num_steps(self.steps, steps))

    def lane_counts(self, lane: int, window: int) -> Ints:
        """Number of rows of the lane in each step of the window."""
        first, last = self.window_bounds[window : window + 2]
        return np.diff(self._elements(lane, self.step_bounds[first : last + 1]))

    def segments(self, lane: int, window: int) -> list[Segment]:
        """The rows of the lane in the window, in the lane's order."""
        first, last = self.window_bounds[window : window + 2]
        begin, end = self._lane_starts[lane] + self._elements(lane, self.step_bounds[[first, last]])
        groups, starts = self._permuted
        segments = []
        place = int(np.searchsorted(starts, begin, side="right")) - 1
        while begin < end:
            stop = min(int(end), int(starts[place + 1]))
            segments.append(Segment(int(groups[place]), int(begin - starts[place]), int(stop - starts[place])))
            begin, place = stop, place + 1
        return segments

    def deal(self, lane: int, window: int, lengths: Ints) -> list[Ints]:
        """Distributes the lane's rows of a window to its steps.

        Args:
            lengths: tokens of each row, in the order of `segments`.

        Returns:
            for each step of the window, its rows as indices into `lengths`.
        """
        counts = self.lane_counts(lane, window)
        assert len(lengths) == counts.sum(), "the lengths are not those of this lane and window"
        shuffled = permutation(len(lengths), self.options.seed, _LANE, self.epoch, lane, window)
        row_bounds = np.concatenate([[0], np.cumsum(counts)])
        dealt: list[Ints] = [shuffled[:0]] * len(counts)
        for first, last, by_length in self._pools(window):
            rows = shuffled[row_bounds[first] : row_bounds[last]]
            rows = rows[np.argsort(lengths[rows], kind="stable")]
            ends = np.cumsum(counts[first:last][by_length])
            for step, end in zip(by_length, ends, strict=True):
                dealt[first + step] = rows[end - counts[first + step] : end]
        return dealt

    def _pools(self, window: int) -> list[tuple[int, int, Ints]]:
        """(first step, last step, steps from the shortest rows to the longest) of each pool; the same for all lanes."""
        first, last = self.window_bounds[window : window + 2]
        steps = int(last - first)
        bounds = even_bounds(steps, num_steps(steps, self.options.pool_steps))
        random = _random(self.options.seed, _DEAL, self.epoch, window)
        return [(int(begin), int(end), _permutation(random, int(end - begin))) for begin, end in itertools.pairwise(bounds)]

    def _elements(self, lane: int, positions: Ints) -> Ints:
        """Number of positions below each of `positions` that belong to the lane."""
        lanes = self.options.num_lanes
        return (positions - lane + lanes - 1) // lanes

    @cached_property
    def _lane_starts(self) -> Ints:
        lanes = self.options.num_lanes
        sizes = [int(self._elements(lane, np.array([self.rows]))[0]) for lane in range(lanes)]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @cached_property
    def _permuted(self) -> tuple[Ints, Ints]:
        """Row groups in the epoch's order, without empty ones, and where each begins in the string of all rows."""
        rows = np.asarray(self.rows_per_group, dtype=np.int64)
        groups = permutation(len(rows), self.options.seed, _GROUPS, self.epoch)
        groups = groups[rows[groups] > 0]
        return groups, np.concatenate([[0], np.cumsum(rows[groups])]).astype(np.int64)


def _random(seed: int, *key: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))


def _permutation(random: np.random.PCG64, size: int) -> Ints:
    return np.argsort(random.random_raw(size), kind="stable").astype(np.int64)
