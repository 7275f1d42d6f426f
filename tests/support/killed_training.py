"""A training that dies in the middle, in this process: as after SIGKILL, all that is left of it lies on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from torch import Tensor

from pipeline.training.loop import Trainer


class Killed(BaseException):
    """No handler for errors or for signals knows it, so nothing is written after it."""


@contextmanager
def killed_after(steps: int) -> Iterator[None]:
    """The block's trainings die in the step after so many, and that they do is asserted."""
    take_step, left = Trainer._step, iter(range(steps))

    def step(self: Trainer, batch: Any) -> Tensor:
        if next(left, None) is None:
            raise Killed
        return take_step(self, batch)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Trainer, "_step", step)
        yield
