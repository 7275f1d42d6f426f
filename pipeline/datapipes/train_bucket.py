"""Gathers a window's row groups and yields its batches according to the plan: rows of similar length together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torchdata.nodes import BaseNode

from pipeline.batches.ragged import Ragged
from pipeline.datapipes.train_read import DecodedGroup
from pipeline.order.order import Ints
from pipeline.order.plan import Plan, groups_of, window_of


@dataclass(frozen=True, slots=True)
class RaggedBatch:
    """A rank's rows of one step, unpadded; `targets` has one target per review, as in `DecodedGroup`."""

    step: int
    global_rows: int
    reviews: Ragged
    targets: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Window:
    first_step: int
    reviews: Ragged
    targets: npt.NDArray[Any]
    batches: list[Ints]


class Buckets(BaseNode[RaggedBatch]):
    """Yields the batches of the plan, starting at `step`.

    While the batches of a window are yielded, the next window is gathered bit by bit, so no step waits for a whole window.
    """

    SOURCE_KEY = "source"
    STEP_KEY = "step"

    def __init__(self, source: BaseNode[DecodedGroup], plan: Plan, step: int = 0) -> None:
        super().__init__()
        self.source = source
        self.plan = plan
        self.first_step = step
        self._step = step
        self._window: _Window | None = None
        self._gathered: dict[int, DecodedGroup] = {}
        self._missing: list[int] = []
        self._to_gather = 0
        self._window_state: dict[str, Any] = {}
        self._next_state: dict[str, Any] = {}

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        super().reset(initial_state)
        self._step = self.first_step if initial_state is None else initial_state[self.STEP_KEY]
        self.source.reset(None if initial_state is None else initial_state[self.SOURCE_KEY])
        self._window = None
        self._expect(window_of(self.plan, self._step))
        self._window_state = self._next_state

    def next(self) -> RaggedBatch:
        if self._step >= self.plan.steps:
            raise StopIteration
        window = self._window
        if window is None or self._step - window.first_step >= len(window.batches):
            window = self._window = self._open(window_of(self.plan, self._step))
        place = self._step - window.first_step
        rows = window.batches[place]
        batch = RaggedBatch(
            step=self._step,
            global_rows=self.plan.global_rows(self._step),
            reviews=window.reviews.take(rows),
            targets=window.targets[rows],
        )
        self._step += 1
        left = len(window.batches) - place - 1
        self._gather(len(self._missing) - self._to_gather * left // len(window.batches))
        return batch

    def get_state(self) -> dict[str, Any]:
        return {self.SOURCE_KEY: self._window_state, self.STEP_KEY: self._step}

    def _expect(self, window: int) -> None:
        """Starts the row groups of a window; none of them has been requested from the source yet."""
        self._next_state = self.source.state_dict()
        self._gathered = {}
        self._missing = groups_of(self.plan, window) if window < len(self.plan.window_bounds) - 1 else []
        self._to_gather = len(self._missing)

    def _gather(self, count: int) -> None:
        count = max(count, 0)
        for group in self._missing[:count]:
            decoded = next(self.source)
            assert decoded.group == group, f"row group {decoded.group} came, {group} was due"
            self._gathered[group] = decoded
        del self._missing[:count]

    def _open(self, window: int) -> _Window:
        self._gather(len(self._missing))
        values = [np.zeros(0, np.int32)]
        lengths = [np.zeros(0, np.int64)]
        targets: list[npt.NDArray[Any]] = []
        for group, start, stop in self.plan.segments(window):
            decoded = self._gathered[group]
            values.append(decoded.values[decoded.offsets[start] : decoded.offsets[stop]])
            lengths.append(np.diff(decoded.offsets[start : stop + 1]))
            targets.append(decoded.targets[start:stop])
        self._window_state = self._next_state
        self._expect(window + 1)
        all_lengths = np.concatenate(lengths)
        return _Window(
            first_step=int(self.plan.window_bounds[window]),
            reviews=Ragged(np.concatenate(values), np.cumsum(all_lengths) - all_lengths, all_lengths),
            targets=np.concatenate(targets) if targets else np.zeros(0, np.int64),
            batches=self.plan.batches(window, all_lengths),
        )
