"""`torchdata.nodes.ParallelMapper` in threads, in order, with errors that arrive as they were raised.

ParallelMapper wraps an exception of a worker or of its source into another of the same type whose message is a
traceback, and its threads live on until it is collected. Here the error itself travels as an item and is raised where
the items are taken, and `close` ends the threads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeVar

from torchdata.nodes import BaseNode, ParallelMapper

X = TypeVar("X")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that travels as an item."""

    error: Exception


class ParallelMap(BaseNode[T]):
    """Maps `function` over `source` in `workers` threads (0: in the caller's), keeping the order.

    At most `ahead` items (two a worker, unless told) are under way, which bounds the memory. The state is ParallelMapper's.
    """

    MAPPER: ClassVar[str] = "mapper"

    def __init__(self, source: BaseNode[X], function: Callable[[X], T], workers: int, ahead: int | None = None) -> None:
        super().__init__()
        self._mapper: ParallelMapper[T | Failure] | None = ParallelMapper(
            Guarded(source),
            _GuardedFunction(function),
            num_workers=workers,
            in_order=True,
            method="thread",
            max_concurrent=ahead if workers else None,
        )

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        """Starts at the beginning, or at the state."""
        super().reset(initial_state)
        assert self._mapper is not None, "used after close"
        self._mapper.reset(initial_state[self.MAPPER] if initial_state else None)

    def next(self) -> T:
        """The next result; raises what `function` or the source raised."""
        assert self._mapper is not None, "used after close"
        item: T | Failure = next(self._mapper)
        if isinstance(item, Failure):
            raise item.error
        return item

    def get_state(self) -> dict[str, Any]:
        """A fresh dictionary."""
        assert self._mapper is not None, "used after close"
        return {self.MAPPER: self._mapper.state_dict()}

    def close(self) -> None:
        """Ends the threads. The node cannot be used again."""
        self._mapper = None

    def __enter__(self) -> "ParallelMap[T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Guarded(BaseNode[Any]):
    """Yields a source's error as its last item."""

    SOURCE: ClassVar[str] = "source"

    def __init__(self, source: BaseNode[Any]) -> None:
        super().__init__()
        self.source = source

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        super().reset(initial_state)
        self._failed = False
        self.source.reset(initial_state[self.SOURCE] if initial_state else None)

    def next(self) -> Any:
        if self._failed:
            raise StopIteration
        try:
            return next(self.source)
        except StopIteration:
            raise
        except Exception as error:
            self._failed = True
            return Failure(error)

    def get_state(self) -> dict[str, Any]:
        return {self.SOURCE: self.source.state_dict()}


class _GuardedFunction(Generic[X, T]):
    def __init__(self, function: Callable[[X], T]) -> None:
        self.function = function

    def __call__(self, item: X | Failure) -> T | Failure:
        if isinstance(item, Failure):
            return item
        try:
            return self.function(item)
        except Exception as error:
            return Failure(error)
