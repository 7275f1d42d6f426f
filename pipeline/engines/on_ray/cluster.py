"""The Ray cluster of a run: the one at `RAY_ADDRESS`, else one that is started on this machine and ends with the run."""

import io
import logging
import os
import secrets
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pipeline.engines.on_ray.aside import Aside
from pipeline.engines.on_ray.calls import Done, guarded, guarded_pair, guarded_stream, opened
from pipeline.engines.on_ray.pulse import Pulse, greet, parted
from pipeline.errors import ClusterUnavailableError, InputNotFoundError, OutOfMemoryError, StoppedError, UsageError
from pipeline.signals import STOPPING, deferred_stop
from pipeline.version import __version__

log = logging.getLogger(__name__)

X = TypeVar("X")
Y = TypeVar("Y")

ADDRESS = "RAY_ADDRESS"
OWN, AUTO = "local", "auto"
"""Addresses that are words: as if there was none; the cluster of this machine."""
RETRIES = 4
"""How often a task is started again whose worker or machine died."""
STREAM_OBJECTS = 2
"""Results that a task which reads a source may be ahead of whoever takes them."""
POLL_SECONDS = 0.5
MAX_PORT = 65535
STORE_BYTES, STORE_BYTES_PER_CORE = 512 << 20, 96 << 20
"""Shared memory of a cluster of ours, at least and for each core. What does not fit goes to the disk."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else workers start as 'uv run' does, if that started us
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Settings that have to be in the environment before Ray is imported."""
AUTH_TOKEN = "RAY_AUTH_TOKEN"
TOKEN = secrets.token_hex(32)
"""The token of clusters of ours; else Ray would write one into the home folder. It reads it once a process."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """A file that a worker does not see. It is an error if the process that sent the worker there sees it."""

    path: Path
    node: str

    def check(self) -> None:
        """Raises `InputNotFoundError` where the file is visible here."""
        if self.path.exists():
            raise InputNotFoundError(
                f"{self.path} is not visible on the Ray worker {self.node}. With --engine ray, workers read the sources "
                "themselves: put them on a file system that all machines mount at the same path, or use --engine local."
            )


def unseen(path: Path) -> Unseen | None:
    """What a task reports of a path that is not visible here."""
    return None if path.exists() else Unseen(path, os.uname().nodename)


@contextmanager
def connecting(workers: int | None, scratch: Path | None = None) -> Iterator[Callable[[], "Cluster"]]:
    """Yields a function that connects to the cluster when it is first called; the block's end disconnects.

    Args:
        workers: tasks at a time; by default one for each core of the cluster.
        scratch: where a cluster of ours puts what does not fit into its memory.

    Raises:
        UsageError: Ray is not installed.
    """
    if find_spec("ray") is None:
        raise UsageError(
            "--engine ray needs Ray, which is not installed. Install it with: pip install 'review-pipeline[ray]', "
            "or use --engine local."
        )
    with ExitStack() as stack:
        found: list[Cluster] = []

        def connected() -> Cluster:
            if not found:
                found.append(stack.enter_context(_connected(workers, scratch)))
            return found[0]

        yield connected


@contextmanager
def _connected(workers: int | None, scratch: Path | None) -> Iterator["Cluster"]:
    given = os.environ.get(ADDRESS, "").strip()
    address = None if given in ("", OWN) else given
    with _environment(QUIET if address else QUIET | {AUTH_TOKEN: TOKEN}):
        yield from _connection(address, workers, scratch)


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """For the block, has settings in the environment, except those that somebody has made already. Takes out what Ray puts
    in."""
    before = set(os.environ)
    os.environ.update({name: value for name, value in settings.items() if name not in before})
    try:
        yield
    finally:
        for name in set(os.environ) - before:
            if name.startswith("RAY_") or name == "PYTHONBREAKPOINT":
                del os.environ[name]


def _connection(address: str | None, workers: int | None, scratch: Path | None) -> Iterator["Cluster"]:
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what matters arrives as an error of a task
    if ray.is_initialized():  # by whoever uses us as a library
        with closing(Cluster(workers)) as cluster:
            yield cluster
        return
    if address and address != AUTO:
        host, port = _host_and_port(address)
        try:
            greet(host, port)  # Ray would wait for minutes, deaf to signals
        except OSError as error:
            raise _unreachable(address, error) from error
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(_Said()))  # Ray prints there that a worker died; ours is for the receipt
        # Ray installs a handler of its own for SIGTERM; leaving the block puts ours back.
        with deferred_stop() as stop:
            stack.callback(_disconnect)
            try:
                if address:
                    ray.init(address, log_to_driver=False, configure_logging=False)
                else:
                    _start(stack, workers, scratch)
            except Exception as error:  # Ray raises that itself if a machine is too slow
                raise _unreachable(address, error) from error
            except SystemExit as end:  # the handler of Ray
                if end.code in STOPPING:
                    raise StoppedError(int(end.code)) from end
                raise
        stop.raise_if_set()
        cluster = stack.enter_context(closing(Cluster(workers, is_here=not address)))
        cluster.check()
        log.info("Ray: %s, %d tasks at a time", address or "a cluster of its own on this machine", cluster.slots)
        yield cluster


def _host_and_port(address: str) -> tuple[str, int]:
    """Raises `UsageError` for other addresses."""
    if address.startswith("ray://"):
        raise UsageError(
            f"{ADDRESS}={address}: Ray Client is not supported. Run the command on a machine of the cluster with "
            f"{ADDRESS}={AUTO}, or submit it with 'ray job submit'."
        )
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
        raise UsageError(
            f"{ADDRESS}={address}: expected HOST:PORT, the address that 'ray start --head' shows, or {AUTO} for the cluster "
            f"that this machine belongs to. Unset {ADDRESS} to start a cluster for the run."
        )
    return parted(address)


def _start(stack: ExitStack, workers: int | None, scratch: Path | None) -> None:
    """Starts a cluster on this machine, whose files go with the stack."""
    import ray

    cores = workers or os.cpu_count() or 1
    # Sockets have short names only, so their folder is not in the lake.
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
    stack.callback(_disconnect)  # before the folder goes
    ray.init(
        "local",
        num_cpus=cores,
        object_store_memory=max(STORE_BYTES, cores * STORE_BYTES_PER_CORE),
        object_spilling_directory=None if scratch is None else str(scratch),
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
    )


class _Said(io.TextIOBase):
    """What Ray prints, as lines for the log of whoever wants to see every step."""

    def write(self, text: str) -> int:
        if text.strip():
            log.debug("Ray: %s", text.strip())
        return len(text)


def _disconnect() -> None:
    import ray

    with deferred_stop():
        ray.shutdown()


def _unreachable(address: str | None, error: Exception) -> ClusterUnavailableError:
    said = " ".join(str(error).split())[:300].rstrip(".")
    if address is None:
        return ClusterUnavailableError(f"Ray does not start on this machine: {said}. Run it again, or use --engine local.")
    return ClusterUnavailableError(
        f"no Ray cluster at {ADDRESS}={address}: {said}. Check the address with 'ray status', unset {ADDRESS} to start a "
        "cluster for the run, or use --engine local."
    )


class Cluster:
    """A connection to a cluster.

    Args:
        workers: tasks at a time; by default one for each core that the cluster has now.
        is_here: whether all of it is this machine, so that tasks see the files that we see.
    """

    def __init__(self, workers: int | None, *, is_here: bool = False) -> None:
        import ray

        self._ray, self.is_here = ray, is_here
        resources = ray.cluster_resources()
        self.slots = workers or max(1, int(resources.get("CPU", 1)))
        self.gpus = int(resources.get("GPU", 0))
        self.readers = max(1, self.slots // 2)  # reading takes less than half of the time
        self._said: set[tuple[str, str]] = set()
        self._aside = Aside(Pulse(ray.get_runtime_context().gcs_address).check, POLL_SECONDS)
        task = ray.remote(max_retries=RETRIES, num_cpus=1)
        self._single, self._pair = task(guarded), task(guarded_pair).options(num_returns=2)
        # Readers wait for whoever takes their batches. They must not keep a core from those, or nobody would go on.
        self._stream = ray.remote(max_retries=RETRIES, num_cpus=0, scheduling_strategy="SPREAD")(guarded_stream).options(
            num_returns="streaming", _generator_backpressure_num_objects=STREAM_OBJECTS
        )

    def close(self) -> None:
        """Makes no more calls."""
        self._aside.close()

    def check(self) -> None:
        """Raises `ClusterUnavailableError` unless the workers have this release."""
        try:
            found = self.get(self.call(_version))
        except (ClusterUnavailableError, OutOfMemoryError):
            raise
        except Exception as error:
            found = f"{type(error).__name__}: {error}".splitlines()[0]
        if found != __version__:
            raise ClusterUnavailableError(
                f"the workers of the Ray cluster do not have review-pipeline {__version__} ({found}). Install the same "
                "release in the environment of every machine of the cluster, then run it again."
            )

    def put(self, value: Any) -> Any:
        """Makes a value available to tasks that get the reference as an argument."""
        return self._aside(partial(self._ray.put, value))

    def call(self, function: Callable[..., Any], *arguments: Any, gpus: int = 0) -> Any:
        """Starts a call of a module's function; gives the reference to its `Done`. References among the arguments are
        replaced by what they stand for."""
        task = self._single.options(num_gpus=gpus) if gpus else self._single
        return self._aside(partial(task.remote, function, *arguments))

    def call_pair(self, function: Callable[..., tuple[Any, Any]], *arguments: Any) -> tuple[Any, Any]:
        """Starts a call of a function that gives a small value and a large one; gives references to the `Done` of the small
        one, and to the large one."""
        head, body = self._aside(partial(self._pair.remote, function, *arguments))
        return head, body

    def stream(self, function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
        """Starts a generator; gives references to the `Done` of each of its items, in order."""
        items = self._aside(partial(self._stream.remote, function, *arguments))  # not when the first one is asked for

        def each() -> Iterator[Any]:
            while (item := self._waited(items, partial(next, items, None))) is not None:
                yield item

        return each()

    def get(self, reference: Any) -> Any:
        """Waits for a task and gives its value.

        Raises:
            Exception: what was raised in the task.
            ClusterUnavailableError: its worker ended, again and again.
            OutOfMemoryError: it was ended because its machine had too little memory.
        """
        exceptions = self._ray.exceptions
        try:
            done: Done = self._waited(reference, partial(self._ray.get, reference))
        except exceptions.OutOfMemoryError as error:
            raise OutOfMemoryError(
                "a Ray worker ran out of memory, again and again. Lower --workers, or use machines with more memory."
            ) from error
        except exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except exceptions.RayError as error:
            what = " ".join(str(error).split())[:300].rstrip(".")
            raise ClusterUnavailableError(
                f"the Ray cluster does not get the work done, after {RETRIES} retries ({type(error).__name__}: {what}). "
                "Check 'ray status' and the logs of the workers, then run it again."
            ) from error
        return opened(done, self._said)

    def ahead(self, items: Iterable[X], start: Callable[[X], Y], depth: int | None = None) -> Iterator[Y]:
        """Starts work on each item, and gives what was started in the order of the items; up to `depth` items are ahead, by
        default so many that nobody waits."""
        depth = self.slots + 1 if depth is None else depth
        started: deque[Y] = deque()
        for item in items:
            started.append(start(item))
            if len(started) > depth:
                yield started.popleft()
        while started:
            yield started.popleft()

    def _waited(self, reference: Any, take: Callable[[], X]) -> X:
        """Waits for a task, in steps: a call that was begun does not end before Ray ends it. Then calls `take`."""
        while not self._aside(partial(self._ray.wait, [reference], timeout=POLL_SECONDS))[0]:
            pass
        return self._aside(take)


def _version() -> str:
    return __version__
