"""Empty stores of every kind, for tests of the laws that they keep."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from pipeline.lake.folder_store import FolderStore
from pipeline.lake.store import Store

EmptyStores = Callable[[], Store]
"""Makes an empty store at each call."""


@contextmanager
def folders(temporary: pytest.TempPathFactory) -> Iterator[EmptyStores]:
    """Stores in folders."""
    parent, serial = temporary.mktemp("stores"), itertools.count()
    yield lambda: FolderStore(parent / f"store{next(serial)}")


def stores() -> list[Any]:
    """The kinds of stores, as parameters of a fixture."""
    kinds: dict[str, Callable[[pytest.TempPathFactory], AbstractContextManager[EmptyStores]]] = {"folder": folders}
    return [pytest.param(kind, id=name) for name, kind in kinds.items()]
