"""Calls of Ray in a thread of its own.

If a cluster is lost in the middle of a call, Ray waits for it, deaf to signals, for a minute and then ends the process.
Whoever waits for such a thread can still end the run in order.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

X = TypeVar("X")

END_SECONDS = 5.0
"""For how long a call may go on when the run ends. One that hangs stays behind, and ends with the process."""


class Aside:
    """A thread that makes one call after the other.

    Args:
        check: is called while a call takes long; raises what ends the wait.
        seconds: how often.
    """

    def __init__(self, check: Callable[[], None], seconds: float) -> None:
        self.check, self.seconds = check, seconds
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ray", daemon=True)
        self._thread.start()

    def __call__(self, function: Callable[[], X]) -> X:
        """Makes a call there and waits for its value, or raises what it or `check` raises."""
        future: Future[X] = Future()
        self._calls.put((future, function))
        while True:
            try:
                return future.result(self.seconds)
            except TimeoutError:
                if future.done():  # the call itself raised it
                    raise
            self.check()

    def close(self) -> None:
        """Ends the thread, unless it hangs."""
        self._calls.put(None)
        self._thread.join(END_SECONDS)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
