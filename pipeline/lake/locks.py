"""Locks between processes. The kernel drops them when a process dies, however it dies.

A lock of a lake on a store keeps out the processes of this machine in the same way, and those of other machines by a lease
in the store (`pipeline.lake.lease`).
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import LockedError
from pipeline.lake.atomic import PREFIX, create, make_folder, writing

LAKE_LOCKS, ORIGIN = ".locks", ".origin"
"""Folders of a lake: of its locks, and the one that a lake on a store has."""


@contextmanager
def locked(path: Path, what: str, wait_seconds: float = 0.0, *, passing: bool = False) -> Iterator[None]:
    """Holds the lock file `path` for the block, and its lease if the lake is on a store. `what` describes the lock in error
    messages of other runs.

    Args:
        passing: whether to remove the lock file when the block ends; lock files in the lake stay.

    Raises:
        LockedError: another process holds the lock and did not release it within `wait_seconds`.
        CannotWriteError: the lock file cannot be created.
        StorageUnavailableError: the store does not answer.
    """
    with _locked_here(path, what, wait_seconds, passing), _leased(path, what, wait_seconds):
        yield


def _leased(path: Path, what: str, wait_seconds: float) -> AbstractContextManager[object]:
    """The lease for a lock of a lake on a store; for others nothing."""
    lake = path.parent.parent
    if path.parent.name != LAKE_LOCKS or not (lake / ORIGIN).is_dir():
        return nullcontext()
    from pipeline.lake.lease import leased
    from pipeline.lake.working_copy import working_copy

    copy = working_copy(lake)
    return nullcontext() if copy is None else leased(copy.store, path.stem, what, wait_seconds, owner=copy.copy_id)


@contextmanager
def _locked_here(path: Path, what: str, wait_seconds: float, passing: bool) -> Iterator[None]:
    """Holds the lock file."""
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
        yield
    finally:
        with suppress(OSError):
            owner.unlink(missing_ok=True)
            if passing:
                path.unlink(missing_ok=True)  # whoever waits for this file finds it gone, and creates another
        lock.release()


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
