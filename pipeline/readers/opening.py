"""Opening (compressed) files as bounded streams, and telling whether a file changed while it was read."""

import errno
import gzip
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from pipeline.errors import PipelineError
from pipeline.readers.base import FileFault, Source, Stamp
from pipeline.readers.bounds import DEFAULT_BOUNDS, Bounds
from pipeline.readers.inflate import GzipFile
from pipeline.readers.ratio import ExpansionError, Ratio
from pipeline.readers.zip_members import DirectoryError, EncryptedError, ZippedTable

GZIP_TRAILER_BYTES = 8
"""A member of a gzip file ends with its checksum and its length, both of them zero only where it is empty."""


READ_ERRORS = (pa.ArrowException, OSError, EOFError, zlib.error, MemoryError, ExpansionError)
"""What Arrow, the standard library, the system and this module raise for a file that cannot be read."""
DENIED = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ETIMEDOUT)


def stamp(path: Path) -> Stamp:
    """The stamp of a file as it is now."""
    status = path.stat()
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def is_settled(path: Path, seconds: float) -> bool:
    """Whether a file was last written at least so many seconds ago."""
    return seconds <= 0 or time.time() - path.stat().st_mtime >= seconds


class Stream:
    """The bytes of a file, decompressed. A context manager.

    Args:
        size: bytes of the file itself; None where it is not compressed.
    """

    def __init__(self, inner: pa.NativeFile | GzipFile | ZippedTable, size: int | None, bounds: Bounds) -> None:
        self.bounds = bounds
        self._inner = inner
        self._ratio = None if size is None else Ratio(size, bounds)

    def read(self, size: int | None = None) -> bytes:
        """Reads up to `size` bytes, or everything; returns no bytes at the end of the stream.

        Raises:
            ExpansionError: more bytes came out than the bound of the ratio allows.
        """
        block = bytes(self._inner.read(size))
        if self._ratio is not None:
            self._ratio.add(len(block))
        return block

    def close(self) -> None:
        """Closes the file."""
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def opened(path: str | Path, compression: str | None, bounds: Bounds = DEFAULT_BOUNDS) -> Stream:
    """A file as a stream of its decompressed bytes; gzip files may be padded with zeros, as on tapes and block devices.

    Raises:
        OSError: it cannot be opened.
    """
    size = None if compression is None else Path(path).stat().st_size
    if compression == "gzip" and _is_padded(path):
        inner = pa.PythonFile(gzip.open(path), mode="r")  # noqa: SIM115  # the stream closes it
    elif compression == "gzip":
        inner = GzipFile(seekable(path))
    elif compression == "zip":
        inner = ZippedTable.opened(Path(path))
    else:
        inner = pa.input_stream(seekable(path), compression=compression)
    return Stream(inner, size, bounds)


def seekable(path: str | Path) -> pa.NativeFile:
    """A file for libraries that seek in it.

    Raises:
        OSError: it cannot be opened.
    """
    return pa.OSFile(os.fsencode(path))  # Arrow takes names that are not UTF-8 only as bytes


@contextmanager
def readable(source: Source, path: Path | None = None) -> Iterator[None]:
    """Turns what goes wrong while `source` is read into a `FileFault` that names it."""
    try:
        yield
    except PipelineError:
        raise
    except READ_ERRORS as error:
        raise fault_of(source.name, source.format, source.compression, error) from error


def fault_of(place: str, format_name: str, compression: str | None, error: Exception) -> FileFault:
    """The fault of a file for an error of the system or of a library."""
    number = getattr(error, "errno", None)
    if isinstance(error, ExpansionError):
        return FileFault(place, "too_large", str(error))
    if isinstance(error, EncryptedError | DirectoryError):
        return FileFault(place, "unreadable" if isinstance(error, EncryptedError) else "too_large", str(error))
    if isinstance(error, MemoryError):
        advice = "give the process more memory, lower --workers, or split the file"
        return FileFault(place, "too_large", f"needs more memory than available; {advice}")
    if isinstance(error, OSError) and number in DENIED:
        advice = "check its owner and permissions" if isinstance(error, PermissionError) else "check its disk"
        if number == errno.ELOOP:
            advice = "fix the link"
        return FileFault(place, "unreadable", f"cannot be opened: {os.strerror(number or 0)}; {advice}")
    kind = f"{format_name} ({compression})" if compression else format_name
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return FileFault(
        place,
        "damaged",
        f"cannot be read as {kind}: {reason}. It may be truncated, damaged, or in another format; get a new copy",
    )


def _is_padded(path: str | Path) -> bool:
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - GZIP_TRAILER_BYTES))
        return size > GZIP_TRAILER_BYTES and not any(file.read())
