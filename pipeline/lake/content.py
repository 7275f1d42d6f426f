"""Digests that verify the content of Parquet files.

Our files contain a small tree of digests. Each page has a CRC-32, which readers verify while decoding. The footer contains
the SHA-256 of every byte before it. A shard's name contains the SHA-256 of the footer, and the Delta log contains the name.
Opening a table therefore verifies its footers, reading verifies the pages read, and `doctor --verify` verifies every byte.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.lake.damage import REPAIR, file_sha256

KEY_DATA_SHA256 = b"review_pipeline.data_sha256"
"""Metadata key of a Parquet file: hex SHA-256 of every byte before the footer."""
NAMED = re.compile(r"(?:train|valid|test|unsup)-([0-9a-f]{64}|[0-9a-f]{16})\.parquet")
"""A shard's name: 64 digits are the footer's SHA-256; 16, of shards of earlier releases, begin the whole file's."""
_END_BYTES = 8
"""Length of the footer, and the magic bytes PAR1."""


def open_parquet(path: Path, **options: Any) -> pq.ParquetFile:
    """A Parquet file whose page checksums are verified where they are."""
    return pq.ParquetFile(path, page_checksum_verification=True, **options)


def note_data_sha256(writer: pq.ParquetWriter, path: Path) -> None:
    """Puts the digest of all that was written into the footer; to be called after the last row."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    writer.add_key_value_metadata({KEY_DATA_SHA256: digest.encode()})


class HashedFile:
    """A new file that is hashed while it is written, so that it need not be read again; a context manager.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._digest = hashlib.sha256()

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._file.closed

    def write(self, content: bytes) -> int:
        """Appends all of the content; gives its number of bytes."""
        self._digest.update(content)
        left = memoryview(content)
        while len(left):
            left = left[self._file.write(left) :]
        return len(content)

    def flush(self) -> None:
        """Nothing is kept back."""

    def tell(self) -> int:
        """Bytes written."""
        return self._file.tell()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def note_sha256(self, writer: pq.ParquetWriter) -> None:
        """Puts the digest of all that was written into the footer; to be called after the last row."""
        writer.add_key_value_metadata({KEY_DATA_SHA256: self._digest.hexdigest().encode()})


def footer_sha256(path: Path) -> str:
    """Hex SHA-256 of a Parquet file's footer, its length and the magic bytes included.

    Raises:
        DataError: the file is too short for its footer.
    """
    with path.open("rb") as file:
        file.seek(_footer_offset(path))
        return hashlib.sha256(file.read()).hexdigest()


def is_named_by_footer(name: str) -> bool:
    """Whether a shard's name contains the digest of its footer; in earlier releases, it does not."""
    match = NAMED.fullmatch(name)
    return match is not None and len(match[1]) == 64


def verify_name(path: Path, *, whole_if_old: bool = True) -> None:
    """Checks that a shard's footer is the one that its name promises; the whole file where an earlier release named it.

    Raises:
        DataError: it is another; `OSError` passes.
    """
    match = NAMED.fullmatch(path.name)
    if match is None:
        return
    if len(match[1]) == 64:
        found = footer_sha256(path)
    elif whole_if_old:
        found = file_sha256(path)
    else:
        return
    if not found.startswith(match[1]):
        raise DataError(f"the token shard {path} is not the file that was committed: its content has changed. {REPAIR}")


def verify_data(path: Path, remedy: str = REPAIR) -> bool:
    """Checks every byte before the footer against the digest in it; False where the file carries none.

    Raises:
        DataError: the bytes have changed; `OSError` and `pa.ArrowException` pass.
    """
    with pq.ParquetFile(path) as file:
        promised = (file.metadata.metadata or {}).get(KEY_DATA_SHA256)
    if promised is None:
        return False
    digest = hashlib.sha256()
    rest = _footer_offset(path)
    with path.open("rb") as opened:
        while rest and (chunk := opened.read(min(rest, 1 << 20))):
            digest.update(chunk)
            rest -= len(chunk)
    if digest.hexdigest().encode() != promised:
        raise DataError(f"{path} is not the file that was written: its content has changed. {remedy}")
    return True


READ_ERRORS = (pa.ArrowException, OSError, EOFError)
"""What pyarrow raises for files that it cannot read; a checksum that does not match is an `OSError` too."""


def _footer_offset(path: Path) -> int:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _END_BYTES))
        end = file.read(_END_BYTES)
    offset = size - _END_BYTES - int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1" or offset < 4:
        raise DataError(f"{path} is not a complete Parquet file: it was truncated or overwritten. {REPAIR}")
    return offset
