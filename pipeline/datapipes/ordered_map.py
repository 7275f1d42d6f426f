"""Maps in threads, in order; plain iteration, so that scoring with a model that needs no torch does not import it.

`ParallelMap` is the same as a node of torchdata, with a state that can be restored.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition
from types import TracebackType
from typing import Generic, TypeVar

X = TypeVar("X")
T = TypeVar("T")


class OrderedMap(Iterator[T], Generic[X, T]):
    """Maps `function` over `source` in `workers` threads (0: in the caller's), keeping the order.

    Up to `ahead` items (by default, two per worker) are in progress at once, which bounds memory. Each worker fetches its
    own item; errors are raised unchanged, and `close` stops all threads at once.
    """

    def __init__(self, source: Iterator[X], function: Callable[[X], T], workers: int, ahead: int | None = None) -> None:
        self._source = source
        self._function = function
        self._turn = Condition()
        self._closed = False
        self._drawn = self._submitted = 0
        self._exhausted = False
        self._results: deque[Future[tuple[T] | None]] = deque()
        self._executor: ThreadPoolExecutor | None = None
        if workers:
            self._executor = ThreadPoolExecutor(workers)
            for _ in range(ahead or 2 * workers):
                self._submit()

    def __next__(self) -> T:
        """The next result.

        Raises:
            Exception: the error raised by the function or the source; after an error of the source, iteration ends.
        """
        if self._executor is None:
            done = self._work(self._drawn)
        else:
            try:
                done = self._results.popleft().result()
            finally:
                self._submit()
        if done is None:
            raise StopIteration
        return done[0]

    def close(self) -> None:
        """Stops the threads; running calls are finished first, and their results are lost."""
        # The executor may cancel an item while a thread starts the next one, whose turn would never come.
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
            self._results.clear()

    def __enter__(self) -> "OrderedMap[X, T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _submit(self) -> None:
        assert self._executor is not None
        self._results.append(self._executor.submit(self._work, self._submitted))
        self._submitted += 1

    def _work(self, number: int) -> tuple[T] | None:
        """Fetches the item with this number when it is its turn, and maps it; None at the end."""
        with self._turn:
            # The executor starts them in order, so the one before has started and will fetch its item.
            self._turn.wait_for(lambda: self._closed or self._drawn == number)
            try:
                if self._closed or self._exhausted:
                    return None
                item = next(self._source)
            except StopIteration:
                self._exhausted = True
                return None
            except BaseException:
                self._exhausted = True
                raise
            finally:
                self._drawn += 1
                self._turn.notify_all()
        try:
            return (self._function(item),)
        except StopIteration as error:
            raise RuntimeError("the function raised StopIteration, which would read as the end of the data") from error
