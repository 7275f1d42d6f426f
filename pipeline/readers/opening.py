"""Opening (compressed) files as streams, and telling whether a file changed while it was read."""

import errno
import gzip
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from pipeline.errors import PipelineError
from pipeline.readers.base import FileFault, Source, Stamp

GZIP_TRAILER_BYTES = 8
"""A member of a gzip file ends with its checksum and its length, both of them zero only where it is empty."""
READ_ERRORS = (pa.ArrowException, OSError, EOFError, zlib.error)
"""What Arrow, the standard library and the system raise for a file that cannot be read."""
DENIED = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ETIMEDOUT)


def stamp(path: Path) -> Stamp:
    """The stamp of a file as it is now."""
    status = path.stat()
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def is_settled(path: Path, seconds: float) -> bool:
    """Whether a file was last written at least so many seconds ago."""
    return seconds <= 0 or time.time() - path.stat().st_mtime >= seconds


def opened(path: str | Path, compression: str | None) -> pa.NativeFile:
    """A file as a stream of its decompressed bytes; gzip files may be padded with zeros, as on tapes and block devices.

    Raises:
        OSError: it cannot be opened.
    """
    if compression == "gzip" and _is_padded(path):
        return pa.PythonFile(gzip.open(path), mode="r")
    # Arrow takes names that are not UTF-8 only as bytes.
    return pa.input_stream(pa.OSFile(os.fsencode(path)), compression=compression)


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
    if isinstance(error, OSError) and number in DENIED:
        advice = "check its owner and permissions" if isinstance(error, PermissionError) else "check the disk it lies on"
        return FileFault(place, "unreadable", f"cannot be opened: {os.strerror(number or 0)}; {advice}")
    kind = f"{format_name} ({compression})" if compression else format_name
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return FileFault(
        place,
        "damaged",
        f"cannot be read as {kind}: {reason}. It may be cut short, damaged, or of another format; deliver it again",
    )


def _is_padded(path: str | Path) -> bool:
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - GZIP_TRAILER_BYTES))
        return size > GZIP_TRAILER_BYTES and not any(file.read())
