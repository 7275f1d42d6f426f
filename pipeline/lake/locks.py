"""Locks between processes. The kernel drops them when a process dies, however it dies."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import LockedError
from pipeline.lake.atomic import make_folder, writing


@contextmanager
def locked(path: Path, what: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Holds the lock file `path` for the block. `what` names the work for the message of whoever is turned away.

    Raises:
        LockedError: another process holds it and did not let go within `wait_seconds`.
        CannotWriteError: the lock file cannot be made.
    """
    make_folder(path.parent)
    lock = FileLock(path)
    owner = path.with_suffix(".owner")
    with writing(path):
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout:
            raise LockedError(
                f"{what} is locked by another run{_owner(owner)}. One run at a time may do this; wait for it, "
                "then try again. A dead process holds no lock."
            ) from None
    try:
        with writing(owner):
            owner.write_text(json.dumps({"pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}))
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        return f" (process {owner['pid']}, since {owner['since']})"
    except (OSError, ValueError, KeyError):
        return ""
