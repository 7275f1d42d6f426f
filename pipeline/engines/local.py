"""One process, one device."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.engines.memory import keep_freed_memory
from pipeline.training.precision import resolve_device
from pipeline.training.world import World


@contextmanager
def joined(device: str) -> Iterator[World]:
    """A world of one rank."""
    keep_freed_memory()
    yield World(resolve_device(device))
