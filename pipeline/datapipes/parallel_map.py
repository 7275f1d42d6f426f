"""Maps in threads, in order: like torchdata's `ParallelMapper`, for runs short enough for its overhead to matter.

The threads of `ParallelMapper` check ten times a second whether to stop, so closing each costs up to 0.1 s, a tenth of a
short run; one of them only reads, one only sorts; and errors are replaced by others of the same type whose message is a
traceback. Here, each worker fetches its own item, errors are raised unchanged, and `close` stops all threads at once.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeVar

from torchdata.nodes import BaseNode

X = TypeVar("X")
T = TypeVar("T")
State = dict[str, Any]


class ParallelMap(BaseNode[T], Generic[X, T]):
    """Maps `function` over `source` in `workers` threads (0: in the caller's), keeping the order.

    Up to `ahead` items (by default, two per worker) are in progress at once, which bounds memory. The state is the source's
    state after the last item taken; work in progress is repeated after a restart.
    """

    SOURCE: ClassVar[str] = "source"

    def __init__(self, source: BaseNode[X], function: Callable[[X], T], workers: int, ahead: int | None = None) -> None:
        super().__init__()
        self.source = source
        self.function = function
        self.workers = workers
        self.ahead = ahead or 2 * workers
        self._executor: ThreadPoolExecutor | None = None

    def reset(self, initial_state: State | None = None) -> None:
        """Starts at the beginning, or at the state."""
        super().reset(initial_state)
        self.close()
        self.source.reset(initial_state[self.SOURCE] if initial_state else None)
        self._state = self.source.state_dict()
        self._turn = Condition()
        self._closed = False
        self._drawn = self._submitted = 0
        self._exhausted = False
        self._results: deque[Future[tuple[T, State] | None]] = deque()
        if self.workers:
            self._executor = ThreadPoolExecutor(self.workers)
            for _ in range(self.ahead):
                self._submit()

    def next(self) -> T:
        """The next result.

        Raises:
            Exception: the error raised by `function` or the source; after an error of the source, iteration ends.
        """
        if not self.workers:
            done = self._work(self._drawn)
        else:
            assert self._results, "used after close"
            try:
                done = self._results.popleft().result()
            finally:
                self._submit()
        if done is None:
            raise StopIteration
        result, self._state = done
        return result

    def get_state(self) -> State:
        """A new dictionary."""
        return {self.SOURCE: self._state}

    def close(self) -> None:
        """Stops the threads; running calls are finished first, and their results are lost."""
        if self._executor is not None:
            # The executor may cancel an item while a thread starts the next one, whose turn would never come.
            with self._turn:
                self._closed = True
                self._turn.notify_all()
            self._executor.shutdown(cancel_futures=True)
            self._executor = None
            self._results.clear()

    def __enter__(self) -> "ParallelMap[X, T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _submit(self) -> None:
        assert self._executor is not None
        self._results.append(self._executor.submit(self._work, self._submitted))
        self._submitted += 1

    def _work(self, number: int) -> tuple[T, State] | None:
        """Fetches the item with this number when it is its turn, and maps it; None at the end."""
        with self._turn:
            # The executor starts them in order, so the one before has started and will fetch its item.
            self._turn.wait_for(lambda: self._closed or self._drawn == number)
            try:
                if self._closed or self._exhausted:
                    return None
                item = next(self.source)
                state = self.source.state_dict()
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
            return self.function(item), state
        except StopIteration as error:
            raise RuntimeError("the function raised StopIteration, which would read as the end of the data") from error
