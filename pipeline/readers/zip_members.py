"""The members of a zip archive, and the table in one that holds a single table: nothing is unpacked to the disk."""

import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.printable import utf8_name
from pipeline.readers.base import Format
from pipeline.readers.bounds import MIB, Bounds
from pipeline.readers.layout import is_hidden
from pipeline.readers.ratio import Ratio
from pipeline.readers.registry import format_of

DIRECTORY_BYTES = 32 * MIB
"""`zipfile` keeps an object for each member, up to 16 times as large as its entry. 300,000 usual members fit."""
END, END_BYTES, MOST_COMMENT_BYTES = b"PK\x05\x06", 22, 1 << 16
"""The record that ends an archive, and the longest comment behind it."""
LOCATOR_64, LOCATOR_64_BYTES, END_64_BYTES = b"PK\x06\x07", 20, 56
"""Before it stand two more where the archive or the number of its members is large."""
UNIX = 3
ENCRYPTED = 1
FAULTS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, ValueError)
"""What `zipfile` raises for an archive that is damaged or compressed in an unknown way."""


class ZipError(OSError):
    """An archive cannot be read, and why."""


class EncryptedError(ZipError):
    """A member that is to be read is encrypted."""


class DirectoryError(ZipError):
    """The directory is larger than its bound."""


class ZipMember:
    """A member, which is read when asked for."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, ratio: Ratio) -> None:
        self._archive, self._info, self._ratio = archive, info, ratio

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return not self._info.is_dir() and not self.is_link

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self._info.create_system == UNIX and stat.S_ISLNK(self._info.external_attr >> 16)

    @property
    def size(self) -> int:
        """Bytes that it holds, as the directory tells."""
        return self._info.file_size

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes, from its beginning.

        Raises:
            ZipError: it is encrypted, damaged, or compressed in an unknown way.
            ExpansionError: more bytes came out of the archive than the bound of the ratio allows.
        """
        with _faults_named(), _opened(self._archive, self._info) as file:
            content = file.read(limit)
        self._ratio.add(len(content))
        return content


@contextmanager
def zip_members(path: Path, bounds: Bounds) -> Iterator[Iterator[tuple[str, ZipMember]]]:
    """Names and members, in the order of the archive's directory.

    Raises:
        ZipError: it is damaged, or its directory is larger than its bound.
    """
    with _archive(path) as archive:
        ratio = Ratio(path.stat().st_size, bounds)
        yield ((info.filename, ZipMember(archive, info, ratio)) for info in archive.infolist())


@dataclass(frozen=True, slots=True)
class ZippedTable:
    """The bytes of the only table in an archive."""

    archive: zipfile.ZipFile
    file: IO[bytes]

    @classmethod
    def opened(cls, path: Path) -> "ZippedTable":
        """Opens it.

        Raises:
            ZipError: the archive or the table cannot be read.
        """
        with _faults_named():
            archive = _open(path)
            try:
                info = _table_of(archive)
                if info is None:
                    raise ZipError("it holds something other than one table by now")
                return cls(archive, _opened(archive, info[0]))
            except BaseException:
                archive.close()
                raise

    def read(self, size: int | None = None) -> bytes:
        """Reads `size` bytes, or everything; returns fewer bytes at the end of the table alone.

        Raises:
            ZipError: it is damaged.
        """
        with _faults_named():
            return self.file.read(-1 if size is None else size)

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
        self.archive.close()


def table_in(path: Path) -> Format | None:
    """The format of the table in a zip archive that holds one and no `.txt`; None for any other, and for one that cannot be
    read: whoever reads it says what is wrong."""
    try:
        with _archive(path) as archive:
            found = _table_of(archive)
    except OSError:
        return None
    return None if found is None else found[1]


def _table_of(archive: zipfile.ZipFile) -> tuple[zipfile.ZipInfo, Format] | None:
    tables = []
    for info in archive.infolist():
        found = None if info.is_dir() or is_hidden(utf8_name(info.filename)) else format_of(info.filename)
        if found is not None:
            tables.append((info, *found))
    if len(tables) != 1:
        return None
    info, format, compression = tables[0]
    return (info, format) if format.read is not None and format.compressible and compression is None else None


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with _faults_named():
        archive = _open(path)
    with archive:
        yield archive


def _open(path: Path) -> zipfile.ZipFile:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - END_BYTES - MOST_COMMENT_BYTES - LOCATOR_64_BYTES - END_64_BYTES))
        directory = _directory_bytes(file.read())
    if directory > DIRECTORY_BYTES:
        raise DirectoryError(
            f"its directory takes more than {DIRECTORY_BYTES // MIB} MiB. Unpack the archive and pass the folder"
        )
    return zipfile.ZipFile(path)


def _directory_bytes(tail: bytes) -> int:
    """Bytes of the directory, from the end of an archive; 0 if it has none, which `zipfile` refuses."""
    end = tail.rfind(END)
    if end < 0 or end + END_BYTES > len(tail):
        return 0
    large = end - LOCATOR_64_BYTES - END_64_BYTES
    if large >= 0 and tail[end - LOCATOR_64_BYTES :].startswith(LOCATOR_64):
        return int.from_bytes(tail[large + 40 : large + 48], "little")
    return int.from_bytes(tail[end + 12 : end + 16], "little")


def _opened(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    if info.flag_bits & ENCRYPTED:
        raise EncryptedError(f"{utf8_name(info.filename)} is encrypted. Unpack the archive and pass the folder")
    return archive.open(info)


@contextmanager
def _faults_named() -> Iterator[None]:
    try:
        yield
    except FAULTS as error:
        raise ZipError(str(error) or type(error).__name__) from error
