"""Locks between processes. The kernel drops them when a process dies, however it dies.

A lock of a lake on a store is in addition a lease in the store, for processes on other machines.
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import LockedError
from pipeline.lake.atomic import PREFIX, create, make_folder, writing

LOCKS = ".locks"
"""The folder of a lake's locks."""


@contextmanager
def locked(path: Path, what: str, wait_seconds: float = 0.0, *, passing: bool = False) -> Iterator[None]:
    """Holds the lock file `path` for the block. `what` describes the lock in error messages of other runs.

    Args:
        passing: whether to remove the lock file when the block ends; lock files in the lake stay.

    Raises:
        LockedError: another process holds the lock and did not release it within `wait_seconds`.
        CannotWriteError: the lock file cannot be created.
    """
    make_folder(path.parent)
    lock = FileLock(path)
    owner = path.with_suffix(".owner")
    with writing(path):
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout:
            if not path.exists():  # filelock also keeps trying if the file cannot be created, as in /proc
                os.close(os.open(path, os.O_CREAT | os.O_RDWR))
                path.unlink(missing_ok=True)
            raise LockedError(
                f"{what} is locked by another run{_owner(owner)}. Only one run at a time can use it; wait for it "
                "to finish, then try again. Locks of crashed processes are released automatically."
            ) from None
    try:
        _note_owner(owner)
        with _leased(path, what, wait_seconds):
            yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
            if passing:
                path.unlink(missing_ok=True)  # whoever waits for this file finds it gone, and creates another
        lock.release()


@contextmanager
def _leased(path: Path, what: str, wait_seconds: float) -> Iterator[None]:
    """For a lock of a working copy, holds the lease of the same name in its store, too."""
    root = path.parent.parent
    if path.parent.name != LOCKS or not (root / ".origin").is_dir():
        yield
        return
    from pipeline.lake.lease import leased
    from pipeline.lake.working_copy import working_copy

    copy = working_copy(root)
    assert copy is not None
    with leased(copy.store, path.stem, what, wait_seconds, owner=copy.copy_id):
        yield


@contextmanager
def locked_output(output: Path, what: str) -> Iterator[None]:
    """Holds the lock of an output file, for runs of any lake; the lock file is next to the output and removed afterwards.

    Raises:
        LockedError: another process writes the same file.
        CannotWriteError: the folder is not writable.
    """
    name = hashlib.sha256(os.fsencode(output.name)).hexdigest()[:16]
    with locked(output.with_name(f".{name}.lock"), what, passing=True):
        yield


def _note_owner(path: Path) -> None:
    """Records who holds the lock, for error messages; replaces links instead of following them."""
    note = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    temporary = path.with_name(f"{PREFIX}{secrets.token_hex(4)}-{path.name}")
    with suppress(OSError):  # the lock holds without it
        create(temporary)
        temporary.write_text(json.dumps(note))
        temporary.replace(path)


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        return f" (process {owner['pid']}, since {owner['since']})"
    except (OSError, ValueError, KeyError):
        return ""
