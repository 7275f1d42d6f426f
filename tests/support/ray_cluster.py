"""Clusters for tests: one of Ray on this machine, and one without Ray; and whatever runs under a process."""

import logging
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.engines.on_ray.calls import guarded, guarded_pair, guarded_stream, opened
from pipeline.engines.on_ray.cluster import Cluster


@contextmanager
def small_cluster() -> Iterator[None]:
    """Two cores and 300 MiB, in this process, for the block: commands that run here use it."""
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}.items():
        os.environ.setdefault(name, value)
    import ray

    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        ray.init(
            "local",
            num_cpus=2,
            object_store_memory=300 << 20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        try:
            yield
        finally:
            ray.shutdown()


def processes_under(parent: int) -> dict[int, str]:
    """The children of a process, theirs and so on: their command lines by number."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            children.setdefault(int(status[1]), []).append(int(folder.name))
    found: dict[int, str] = {}
    left = [parent]
    while left:
        for child in children.get(left.pop(), []):
            try:
                found[child] = (Path("/proc") / str(child) / "cmdline").read_text().replace("\0", " ").strip()
            except OSError:
                continue
            left.append(child)
    return found


class Synchronous(Cluster):
    """Runs each task at once in this process. What goes in and out is pickled, as it is on its way between processes."""

    def __init__(self, slots: int = 2) -> None:
        self.slots, self.readers, self.gpus, self.is_here = slots, 1, 0, True
        self._said = set[tuple[str, str]]()
        self._values: dict[str, bytes] = {}

    def put(self, value: Any) -> Any:
        reference = Reference(f"{len(self._values)}")
        self._values[reference.number] = pickle.dumps(value)
        return reference

    def value(self, reference: Any) -> Any:
        """What a reference stands for."""
        return pickle.loads(self._values[reference.number]) if isinstance(reference, Reference) else reference

    def call(self, function: Callable[..., Any], *arguments: Any, gpus: int = 0) -> Any:
        return self.put(guarded(function, *map(self.value, arguments)))

    def call_pair(self, function: Callable[..., tuple[Any, Any]], *arguments: Any) -> tuple[Any, Any]:
        head, body = guarded_pair(function, *map(self.value, arguments))
        return self.put(head), self.put(body)

    def stream(self, function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
        return map(self.put, guarded_stream(function, *map(self.value, arguments)))

    def get(self, reference: Any) -> Any:
        return opened(self.value(reference), self._said)


@dataclass(frozen=True)
class Reference:
    """Stands for a value."""

    number: str


@contextmanager
def synchronous(workers: int | None, scratch: Path | None = None) -> Iterator[Callable[[], Cluster]]:
    """In place of `connecting`."""
    cluster = Synchronous()
    yield lambda: cluster
