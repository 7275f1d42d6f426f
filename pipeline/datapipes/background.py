"""Calls that are made in a thread of their own, one after another."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Background(Generic[P]):
    """Calls `function` in a thread. A call waits for the one before it, so at most one is under way, and raises its error.

    As a context manager, it waits for the last call when it is left.
    """

    def __init__(self, function: Callable[P, object]) -> None:
        self._function = function
        self._thread = ThreadPoolExecutor(1, "background")
        self._call: Future[object] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        self._wait()
        self._call = self._thread.submit(self._function, *args, **kwargs)

    def __enter__(self) -> "Background[P]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        if error is None:
            self._wait()

    def _wait(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.result()
