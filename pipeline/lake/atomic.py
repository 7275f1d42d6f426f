"""Files that appear whole or not at all: a temporary neighbour, fsync, one rename, fsync of the folder."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import CannotWriteError

PREFIX = ".tmp-"
"""Names that begin so are unfinished; nobody reads them."""


REFUSALS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR),
    *(errno.EEXIST, errno.ENAMETOOLONG, errno.EFBIG),
)


def refused(error: Exception) -> bool:
    """Whether the text of an error of pyarrow's or deltalake's tells the number of a refusal, which they give only there."""
    return any(f"[errno {number}]" in str(error) or f"(os error {number})" in str(error) for number in REFUSALS)


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turns the operating system's refusals to write `what` into `CannotWriteError`."""
    try:
        yield
    except OSError as error:
        if error.errno in REFUSALS or refused(error):
            reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
            raise CannotWriteError(
                f"cannot write {what}: {reason}. Check the owner, the permissions and the free space of "
                f"{what.parent}, or choose another place with --lake or --output."
            ) from error
        raise


def make_folder(folder: Path) -> Path:
    """Makes a folder and its parents.

    Raises:
        CannotWriteError: it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yields a temporary path beside `target`; when the block ends well it is synced and renamed to `target`.

    When the block raises, the temporary file is removed and `target` stays as it was.

    Raises:
        CannotWriteError: the place cannot be written.
    """
    make_folder(target.parent)
    temporary = target.with_name(f"{PREFIX}{secrets.token_hex(4)}-{target.name}")
    try:
        with writing(target):
            yield temporary
            sync_file(temporary)
            temporary.replace(target)
            sync_folder(target.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sweep(target: Path) -> None:
    """Removes what killed writers of `target` left beside it. The caller sees to it that none is at work."""
    for path in target.parent.glob(f"{PREFIX}*"):
        if path.name[len(PREFIX) :].partition("-")[2] == target.name:
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
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Forces a folder's entries to the disk, where the system allows it."""
    with suppress(PermissionError):
        sync_file(folder)
