"""Empty stores of every kind, for tests of the laws that they keep."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from pipeline.lake.folder_store import FolderStore
from pipeline.lake.object_store import ObjectStore
from pipeline.lake.store import Store
from tests.support.faulty_proxy import Faults, faulty
from tests.support.gcs_server import BUCKET as GOOGLE_BUCKET
from tests.support.gcs_server import gcs_server
from tests.support.s3_server import empty_store, environment, s3_server

EmptyStores = Callable[[], Store]
"""Makes an empty store at each call."""
ENOUGH_REQUESTS = 400
"""After so many requests every kind of fault must have happened."""


@contextmanager
def folders(temporary: pytest.TempPathFactory) -> Iterator[EmptyStores]:
    """Stores in folders."""
    parent, serial = temporary.mktemp("stores"), itertools.count()
    yield lambda: FolderStore(parent / f"store{next(serial)}")


@contextmanager
def buckets(temporary: pytest.TempPathFactory) -> Iterator[EmptyStores]:
    """Stores on an S3 server."""
    with s3_server() as server, faulty(server, Faults()) as url, environment(url):
        yield empty_store


@contextmanager
def failing_buckets(temporary: pytest.TempPathFactory) -> Iterator[EmptyStores]:
    """The same on a server that fails every tenth request, hangs up in downloads, and loses answers to writes."""
    faults = Faults(refuse_every=10, hang_up_every=4, lose_every=5)
    with s3_server() as server, faulty(server, faults) as url, environment(url):
        yield empty_store
    requests = sum(faults.counts[method] for method in ("GET", "HEAD", "PUT", "POST"))
    happened = min(faults.counts[what] for what in ("refused", "hung up", "lost"))
    assert happened > 0 or requests < ENOUGH_REQUESTS, faults.counts


@contextmanager
def google_buckets(temporary: pytest.TempPathFactory) -> Iterator[EmptyStores]:
    """Stores on a stand-in for Google Cloud Storage."""
    serial = itertools.count()
    with gcs_server():
        yield lambda: ObjectStore(f"gs://{GOOGLE_BUCKET}/prefix{next(serial)}")


def stores() -> list[Any]:
    """The kinds of stores, as parameters of a fixture."""
    kinds: dict[str, Callable[[pytest.TempPathFactory], AbstractContextManager[EmptyStores]]] = {
        "folder": folders,
        "s3": buckets,
        "failing-s3": failing_buckets,
        "gs": google_buckets,
    }
    return [pytest.param(kind, id=name, marks=[] if kind is folders else pytest.mark.s3) for name, kind in kinds.items()]
