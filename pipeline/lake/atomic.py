"""Files that appear whole or not at all: a temporary neighbour, fsync, one rename, fsync of the folder."""

import errno
import fcntl
import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from pipeline.errors import DENIED, FULL, UNREACHABLE, CannotWriteError, PipelineError, errno_of, unreachable

PREFIX = ".tmp-"
"""Prefix of unfinished files, which are never read."""
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)

REFUSALS = (
    FULL
    | DENIED
    | {
        *(
            errno.ENOENT,
            errno.ENOTDIR,
            errno.EISDIR,
            errno.EEXIST,
            errno.ENAMETOOLONG,
            errno.EFBIG,
            errno.ELOOP,
            errno.EMLINK,
        ),
    }
)
"""What the operating system refuses to write with."""
WORKING_COPY = ".origin"
"""The folder that makes another one a working copy of a lake on a store."""


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Converts operating system errors while writing `what`, from any library, to our errors.

    Raises:
        CannotWriteError: `what` cannot be written.
        StorageUnavailableError: the storage is unreachable.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        number = errno_of(error)
        if number in UNREACHABLE:
            raise unreachable(number, f"cannot write {what}") from error
        if number in REFUSALS:
            raise CannotWriteError(f"cannot write {what}: {os.strerror(number)}. {_where_to_write(what)}") from error
        raise


def _where_to_write(what: Path) -> str:
    """What to do where `what` cannot be written. Messages name files of a working copy by their URIs in the store, which is
    not where space or permissions are lacking."""
    for folder in (what, *what.parents):
        root = folder.parent if folder.name == WORKING_COPY else folder
        if root != folder or os.access(folder / WORKING_COPY, os.F_OK):  # no, if it may not be looked at
            return (
                f"It belongs in the working copy on this machine, in {root.parent}: check the owner, permissions and free "
                "space there, or choose another folder with PIPELINE_CACHE."
            )
    return (
        f"Check the owner, the permissions and the free space of {what.parent}, or choose another place with --lake or "
        "--output."
    )


def make_folder(folder: Path) -> Path:
    """Makes a folder and its parents; those that are new are synced into theirs.

    Raises:
        CannotWriteError: it cannot be made.
    """
    with writing(folder):
        new = list(itertools.takewhile(lambda place: not place.exists(), (folder, *folder.parents)))
        folder.mkdir(parents=True, exist_ok=True)
        for place in reversed(new):
            sync_folder(place.parent)
    return folder


@contextmanager
def atomic_path(target: Path, commit: AbstractContextManager[None] | None = None, *, sync: bool = True) -> Iterator[Path]:
    """Yields an empty temporary file next to `target`; if the block succeeds, syncs it and renames it to `target`.

    `commit` is entered for the rename. Without `sync`, a power cut may tear the file: for what checks itself when it is
    read, and can be made again.

    The order of syncs protects against power cuts: the folder's own entry, the content, the name, the folder.
    If the block raises, the temporary file is removed and `target` is unchanged.

    Raises:
        CannotWriteError: the folder is not writable.
    """
    make_folder(target.parent)
    temporary = target.with_name(f"{PREFIX}{secrets.token_hex(4)}-{target.name}")
    try:
        with writing(target), claimed(temporary, create):
            yield temporary
            if sync:
                sync_file(temporary)
            with commit or nullcontext():
                temporary.replace(target)
                if sync:
                    sync_folder(target.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def create(path: Path) -> None:
    """Makes an empty file where nothing is; a symbolic link that somebody put there is not followed.

    Raises:
        FileExistsError: something is there.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NOFOLLOW, 0o666))


@contextmanager
def claimed(path: Path, make: Callable[[Path], object] | None = None) -> Iterator[None]:
    """For the block, marks an unfinished file or folder as owned by a running process.

    The kernel releases the claim when the process ends, for any reason, so `is_claimed` needs neither ages nor PIDs.

    Args:
        make: makes `path`. Another run may sweep it away before it is claimed; then it is made again.

    Raises:
        FileNotFoundError: without `make`, `path` does not exist, or was just removed.
    """
    while True:
        if make is not None:
            make(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW)
        except FileNotFoundError:
            if make is None:
                raise
            continue
        try:
            with suppress(OSError):  # a file system without locks: nobody will take it for abandoned, either
                fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits only for one who is removing it
            if not _is_still(path, descriptor):
                if make is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
                continue
            yield
            return
        finally:
            os.close(descriptor)


def is_claimed(path: Path) -> bool:
    """Whether a running process owns an unfinished file or folder, or this cannot be determined."""
    with abandoned(path) as free:
        return not free


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether no living process is at work on an unfinished file or folder. If so, none begins to during the block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW)
    except OSError:
        yield path.is_symlink()
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except OSError:
            free = False
        yield free
    finally:
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether a path still refers to the file opened there."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def sweep(target: Path) -> None:
    """Removes leftovers of crashed writers of `target`."""
    for path in target.parent.glob(f"{PREFIX}*"):
        if path.name[len(PREFIX) :].partition("-")[2] == target.name:
            with abandoned(path) as free:
                if free:
                    path.unlink(missing_ok=True)


def write_bytes(target: Path, content: bytes) -> None:
    """Writes a whole file atomically."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, content: str) -> None:
    """Writes a whole UTF-8 file atomically."""
    write_bytes(target, content.encode())


def sync_file(path: Path) -> None:
    """Forces a file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Forces a folder's entries to the disk, where the system allows it."""
    with suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
