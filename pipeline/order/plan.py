"""What one rank reads, and in which batches: its share of an epoch's order, or of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from pipeline.order.order import Ints, Order, Segment, even_bounds, lanes_of_rank, num_steps


class Plan(Protocol):
    """Steps in windows; for each window the rows to read and, once their lengths are known, the batches."""

    @property
    def steps(self) -> int:
        """Number of steps."""

    @property
    def window_bounds(self) -> Ints:
        """Steps at which the windows begin, and `steps`."""

    def segments(self, window: int) -> list[Segment]:
        """The rows of a window, in the order used by `batches`."""

    def batches(self, window: int, lengths: Ints) -> list[Ints]:
        """For each step of the window the rows of its batch, as indices into the rows of `segments`."""

    def global_rows(self, step: int) -> int:
        """Number of rows of the step's batch over all ranks."""


@dataclass(frozen=True)
class TrainPlan:
    """A rank's share of an epoch: the rows of its lanes. Its share of a step may be empty."""

    order: Order
    rank: int = 0
    num_ranks: int = 1

    @cached_property
    def lanes(self) -> range:
        """The lanes of this rank."""
        return lanes_of_rank(self.rank, self.num_ranks, self.order.options.num_lanes)

    @property
    def steps(self) -> int:
        return self.order.steps

    @property
    def window_bounds(self) -> Ints:
        return self.order.window_bounds

    def segments(self, window: int) -> list[Segment]:
        return [segment for lane in self.lanes for segment in self.order.segments(lane, window)]

    def batches(self, window: int, lengths: Ints) -> list[Ints]:
        by_lane = []
        begin = 0
        for lane in self.lanes:
            end = begin + int(self.order.lane_counts(lane, window).sum())
            by_lane.append([rows + begin for rows in self.order.deal(lane, window, lengths[begin:end])])
            begin = end
        return [np.concatenate(parts) for parts in zip(*by_lane, strict=True)]

    def global_rows(self, step: int) -> int:
        return int(self.order.step_bounds[step + 1] - self.order.step_bounds[step])


@dataclass(frozen=True)
class EvaluationPlan:
    """A rank's share of an evaluation: a contiguous part of the rows, each once, sorted by length within windows."""

    rows_per_group: Sequence[int]
    batch_size: int
    rank: int = 0
    num_ranks: int = 1
    window_rows: int = 32_768

    @cached_property
    def _starts(self) -> Ints:
        return np.concatenate([[0], np.cumsum(np.asarray(self.rows_per_group, dtype=np.int64))]).astype(np.int64)

    @cached_property
    def _share(self) -> tuple[int, int]:
        bounds = even_bounds(int(self._starts[-1]), self.num_ranks)
        return int(bounds[self.rank]), int(bounds[self.rank + 1])

    @cached_property
    def _row_bounds(self) -> Ints:
        """Rows at which windows begin; every window but the last contains whole batches."""
        begin, end = self._share
        size = max(1, self.window_rows // self.batch_size) * self.batch_size
        return np.append(np.arange(begin, end, size, dtype=np.int64), end)

    @cached_property
    def window_bounds(self) -> Ints:
        batches = [num_steps(int(rows), self.batch_size) for rows in np.diff(self._row_bounds)]
        return np.concatenate([[0], np.cumsum(batches)]).astype(np.int64)

    @property
    def steps(self) -> int:
        return int(self.window_bounds[-1])

    def segments(self, window: int) -> list[Segment]:
        begin, end = (int(row) for row in self._row_bounds[window : window + 2])
        first = int(np.searchsorted(self._starts, begin, side="right")) - 1
        found = []
        for group in range(first, len(self.rows_per_group)):
            start, stop = max(begin, int(self._starts[group])), min(end, int(self._starts[group + 1]))
            if self._starts[group] >= end:
                break
            if start < stop:
                found.append(Segment(group, start - int(self._starts[group]), stop - int(self._starts[group])))
        return found

    def batches(self, window: int, lengths: Ints) -> list[Ints]:
        by_length = np.argsort(lengths, kind="stable")
        return [by_length[begin : begin + self.batch_size] for begin in range(0, len(by_length), self.batch_size)]

    def global_rows(self, step: int) -> int:
        window = window_of(self, step)
        place = step - int(self.window_bounds[window])
        begin, end = self._row_bounds[window : window + 2]
        return min(self.batch_size, int(end - begin) - place * self.batch_size)


def window_of(plan: Plan, step: int) -> int:
    """The window of a step; the number of windows if the plan is at its end."""
    return int(np.searchsorted(plan.window_bounds, step, side="right")) - 1


def groups_of(plan: Plan, window: int) -> list[int]:
    """The row groups that a window needs, each once, in the order of first use."""
    return list(dict.fromkeys(segment.group for segment in plan.segments(window)))
