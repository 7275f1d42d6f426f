"""Signals that ask a run to stop: SIGTERM from cron's kin and Airflow, SIGINT from a keyboard."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.errors import StoppedError

STOPPING = (signal.SIGTERM, signal.SIGINT)


def raise_on_stop() -> None:
    """From now on SIGTERM and SIGINT raise `StoppedError` in the main thread, so that `finally` blocks clean up."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise StoppedError(number)

    for number in STOPPING:
        signal.signal(number, stop)


class StopRequest:
    """Whether a signal came while `deferred_stop` was in force; `signal_number` is 0 until then."""

    signal_number = 0


@contextmanager
def deferred_stop() -> Iterator[StopRequest]:
    """For the block, SIGTERM and SIGINT only set the request: the loop looks at it where it can stop in good order."""
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        request.signal_number = number

    before = {number: signal.signal(number, note) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
