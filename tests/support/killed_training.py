"""A training that dies midway, in this process: as after SIGKILL, only what is on disk remains."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.training.optimizer import Optimizer


class Killed(BaseException):
    """No handler for errors or for signals knows it, so nothing is written after it."""


@contextmanager
def killed_after(steps: int) -> Iterator[None]:
    """The block's trainings die in the step after these many, and the block fails where they do not."""
    update, left = Optimizer.step, iter(range(steps))

    def step(self: Optimizer, factor: float) -> None:
        if next(left, None) is None:
            raise Killed
        update(self, factor)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Optimizer, "step", step)
        yield
