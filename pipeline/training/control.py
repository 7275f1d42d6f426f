"""When to stop and when to write a checkpoint: decided by all ranks together, without waiting for each other.

In each step, every rank sends its requests to the CPU group and reads the sum of the previous step, which has arrived by
then. So all ranks act after the same step, one step after the request, and the GPU never waits.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import distributed

from pipeline.config.interval import Interval
from pipeline.signals import StopRequest
from pipeline.training.world import World


@dataclass(frozen=True)
class Decision:
    """What all ranks do now. `stop` is a signal's number, or 0."""

    stop: int = 0
    checkpoint: bool = False


@dataclass
class Control:
    """Called after every step."""

    world: World
    request: StopRequest
    interval: Interval
    _steps: int = 0
    _last: float = field(default_factory=time.monotonic)
    _pending: tuple[Any, torch.Tensor] | None = None

    def after_step(self) -> Decision:
        """The decision for this step."""
        self._steps += 1
        wish = Decision(self.request.signal_number, self._due())
        if self.world.size == 1:
            return wish
        before = self._pending
        message = torch.tensor([wish.stop, int(wish.checkpoint and self.world.is_main)])
        work = distributed.all_reduce(message, distributed.ReduceOp.MAX, group=self.world.control, async_op=True)
        self._pending = (work, message)
        return self._read(before)

    def between_epochs(self) -> Decision:
        """The decision now, after waiting for all ranks; used where that costs nothing, such as around an evaluation."""
        if self.world.size == 1:
            return Decision(self.request.signal_number)
        late = self._read(self._pending)
        self._pending = None
        message = torch.tensor([max(late.stop, self.request.signal_number)])
        distributed.all_reduce(message, distributed.ReduceOp.MAX, group=self.world.control)
        return Decision(int(message[0]))

    def checkpoint_written(self) -> None:
        """Restarts the interval."""
        self._steps = 0
        self._last = time.monotonic()

    def _due(self) -> bool:
        by_steps = self.interval.steps and self._steps >= self.interval.steps
        return bool(by_steps or (self.interval.seconds and time.monotonic() - self._last >= self.interval.seconds))

    @staticmethod
    def _read(pending: tuple[Any, torch.Tensor] | None) -> Decision:
        if pending is None:
            return Decision()
        work, message = pending
        work.wait()
        return Decision(int(message[0]), bool(message[1]))
