"""Maps in threads, in order: like torchdata's `ParallelMapper`, for runs short enough for its overhead to matter.

The threads of `ParallelMapper` check ten times a second whether to stop, so closing each costs up to 0.1 s, a tenth of a
short run; one of them only reads, one only sorts; and errors are replaced by others of the same type whose message is a
traceback. Here, each worker fetches its own item, errors are raised unchanged, and `close` stops all threads at once.
"""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeVar

from torchdata.nodes import BaseNode

from pipeline.datapipes.ordered_map import OrderedMap

X = TypeVar("X")
T = TypeVar("T")
State = dict[str, Any]


class ParallelMap(BaseNode[T], Generic[X, T]):
    """Maps `function` over `source` in `workers` threads (0: in the caller's), keeping the order; see `OrderedMap`.

    The state is the source's state after the last item taken; work in progress is repeated after a restart.
    """

    SOURCE: ClassVar[str] = "source"

    def __init__(self, source: BaseNode[X], function: Callable[[X], T], workers: int, ahead: int | None = None) -> None:
        super().__init__()
        self.source = source
        self.function = function
        self.workers = workers
        self.ahead = ahead
        self._mapped: OrderedMap[tuple[X, State], tuple[T, State]] | None = None

    def reset(self, initial_state: State | None = None) -> None:
        """Starts at the beginning, or at the state."""
        super().reset(initial_state)
        self.close()
        self.source.reset(initial_state[self.SOURCE] if initial_state else None)
        self._state = self.source.state_dict()
        self._mapped = OrderedMap(self._items(), self._map, self.workers, self.ahead)

    def next(self) -> T:
        """The next result.

        Raises:
            Exception: the error raised by `function` or the source; after an error of the source, iteration ends.
        """
        assert self._mapped is not None, "used after close"
        result, self._state = next(self._mapped)
        return result

    def get_state(self) -> State:
        """A new dictionary."""
        return {self.SOURCE: self._state}

    def close(self) -> None:
        """Stops the threads; running calls are finished first, and their results are lost."""
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None

    def __enter__(self) -> "ParallelMap[X, T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _items(self) -> Iterator[tuple[X, State]]:
        for item in self.source:
            yield item, self.source.state_dict()

    def _map(self, item: tuple[X, State]) -> tuple[T, State]:
        return self.function(item[0]), item[1]
