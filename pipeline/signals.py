"""Signals that ask a run to stop: SIGTERM from cron's kin and Airflow, SIGINT from a keyboard."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.errors import StoppedError

STOPPING = (signal.SIGTERM, signal.SIGINT)


class _Settled:
    """Whether the work of this process is committed, and which signal came since; 0 for none.

    `raised` is the signal for which `StoppedError` was raised.
    """

    committed = False
    signal_number = 0
    raised = 0


def raise_on_stop() -> None:
    """From now on SIGTERM and SIGINT raise `StoppedError` in the main thread, so that `finally` blocks clean up.

    Between `settle` and `unsettle` they are only noted: what is left to do is to say that the work is done.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if _Settled.committed:
            _Settled.signal_number = number
        else:
            _Settled.raised = number
            raise StoppedError(number)

    _Settled.raised = 0
    for number in STOPPING:
        signal.signal(number, stop)


def as_stop(error: BaseException) -> BaseException:
    """The stop that `error` comes from, where there was one: raised in the middle of an import, say, it arrives as whatever
    the half-imported module causes next."""
    if _Settled.raised and isinstance(error, Exception):
        return StoppedError(_Settled.raised)
    return error


def raise_if_swallowed() -> None:
    """Raises `StoppedError` again where something caught it on its way: an import that may fail, say.

    For the steps of a run, not for what cleans up after it.
    """
    if _Settled.raised:
        raise StoppedError(_Settled.raised)


def settle() -> None:
    """The run has committed: a signal no longer changes how it ends."""
    _Settled.committed = True


def unsettle() -> None:
    """A run begins.

    Raises:
        StoppedError: a signal came after the run before it had committed.
    """
    _Settled.committed, number, _Settled.signal_number, _Settled.raised = False, _Settled.signal_number, 0, 0
    if number:
        raise StoppedError(number)


class StopRequest:
    """Whether a signal came while `deferred_stop` was in force; `signal_number` is 0 until then."""

    signal_number = 0

    def raise_if_set(self) -> None:
        """Raises `StoppedError` where a signal came."""
        if self.signal_number:
            raise StoppedError(self.signal_number)


@contextmanager
def deferred_stop() -> Iterator[StopRequest]:
    """For the block, SIGTERM and SIGINT only set the request: the loop looks at it where it can stop in good order."""
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        request.signal_number = number

    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread only
        yield request
        return
    before = {number: signal.signal(number, note) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
