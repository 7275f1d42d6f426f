"""Passes errors through torchdata's threads as items.

Its threaded nodes (`Prefetcher`, `PinMemory`) wrap an exception of their source into another one of the same type whose
message is a traceback. Here, the error itself is the last item, and is raised where items are consumed.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torchdata.nodes import BaseNode


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as an item."""

    error: Exception


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
