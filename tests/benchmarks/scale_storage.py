"""Where the lakes of `bench_scale` are: on the disk, or on a store, whose requests are counted."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.lake.store import open_store
from tests.support.faulty_proxy import Faults, faulty
from tests.support.s3_server import BUCKET, environment, s3_server, settings


@dataclass(frozen=True)
class Place:
    """A storage with lakes. `requests`: how many it has answered so far, by kind; `files`: names and sizes of a lake's."""

    lake: Callable[[str], str]
    files: Callable[[str], Iterator[tuple[str, int]]]
    requests: Callable[[], dict[str, int]] = dict
    environment: dict[str, str] = field(default_factory=dict)


@contextmanager
def on_disk(folder: Path) -> Iterator[Place]:
    """Lakes in folders."""
    yield Place(lambda name: str(folder / name), lambda name: _files(folder / name))


@contextmanager
def on_folder_store(folder: Path) -> Iterator[Place]:
    """Lakes on a store in a folder: what a working copy costs, without a network."""
    environment = {"PIPELINE_CACHE": str(folder / "cache")}
    store = folder / "store"
    yield Place(lambda name: f"file+store://{store / name}", lambda name: _files(store / name), environment=environment)


@contextmanager
def on_s3(folder: Path) -> Iterator[Place]:
    """Lakes on an S3 server on loopback. A proxy before it counts requests, so times are those of server and proxy, too."""
    faults = Faults()
    with s3_server() as server, faulty(server, faults) as url, environment(url):
        yield Place(
            lambda name: f"s3://{BUCKET}/{name}",
            lambda name: ((one.name, one.size) for one in open_store(f"s3://{BUCKET}/{name}").list()),
            lambda: {method: faults.counts[method] for method in ("PUT", "GET", "HEAD", "POST", "DELETE")},
            {**settings(url), "PIPELINE_CACHE": str(folder / "cache")},
        )


STORAGES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "disk": on_disk,
    "copy": on_folder_store,
    "s3": on_s3,
}


def storage(name: str, folder: Path) -> AbstractContextManager[Place]:
    """The storage of this name."""
    return STORAGES[name](folder)


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            yield path.relative_to(folder).as_posix(), path.stat().st_size
