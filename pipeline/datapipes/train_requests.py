"""Source node: which row groups to read for which window, in order. It seeks, so nothing is read to skip it."""

from dataclasses import dataclass
from typing import Any

from torchdata.nodes import BaseNode

from pipeline.order.plan import Plan, groups_of, window_of


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A row group to read for a window. `again`: the next window needs it too, so it should be kept."""

    window: int
    group: int
    again: bool


class ReadRequests(BaseNode[ReadRequest]):
    """Yields the requests of every window, starting with the one that contains `step`."""

    WINDOW_KEY = "window"
    POSITION_KEY = "position"

    def __init__(self, plan: Plan, step: int = 0) -> None:
        super().__init__()
        self.plan = plan
        self.first_window = window_of(plan, step)
        self._window = self._position = 0
        self._groups: list[int] = []
        self._next_groups: list[int] = []

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        super().reset(initial_state)
        self._window = self.first_window if initial_state is None else initial_state[self.WINDOW_KEY]
        self._position = 0 if initial_state is None else initial_state[self.POSITION_KEY]
        self._groups = self._groups_of(self._window)
        self._next_groups = self._groups_of(self._window + 1)

    def next(self) -> ReadRequest:
        while self._position >= len(self._groups):
            if self._window + 1 >= self._windows:
                raise StopIteration
            self._window += 1
            self._position = 0
            self._groups, self._next_groups = self._next_groups, self._groups_of(self._window + 1)
        group = self._groups[self._position]
        self._position += 1
        return ReadRequest(self._window, group, group in self._next_groups)

    def get_state(self) -> dict[str, Any]:
        return {self.WINDOW_KEY: self._window, self.POSITION_KEY: self._position}

    @property
    def _windows(self) -> int:
        return len(self.plan.window_bounds) - 1

    def _groups_of(self, window: int) -> list[int]:
        return groups_of(self.plan, window) if window < self._windows else []
