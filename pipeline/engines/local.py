"""One process, one device."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.devices import resolve_device
from pipeline.training.world import World


@contextmanager
def joined(device: str) -> Iterator[World]:
    """A world of one rank."""
    yield World(resolve_device(device))
