"""What a lake needs of a storage that several machines reach: a bucket of an object store, or a shared folder.

A store holds whole objects. An object appears whole or not at all, never changes in place, and has a stamp that changes
when its content does. A write may be conditional: of two writers with the same condition, exactly one succeeds. That is
the law on which the commits of a lake rest; `tests/lake/test_lake_store_laws.py` states all of them, and every
implementation passes them.

Source: RFC 9110, section 13 (If-Match, If-None-Match).
"""

import enum
import glob
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pipeline.errors import InputNotFoundError, LockedError, StorageUnavailableError, UsageError, unknown_choice

FOLDERS = ("file",)
OBJECT_STORES = ("s3", "gs", "az")
SCHEMES = (*OBJECT_STORES, *FOLDERS)
_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")


class Over(enum.Enum):
    """What a write may replace. A stamp, as text, says: only the object with this stamp."""

    ANY = "whatever is there, or nothing"
    ABSENT = "nothing: there must be no such object"


ANY = Over.ANY
ABSENT = Over.ABSENT


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in a store.

    Args:
        name: relative to the store, with slashes.
        size: in bytes.
        stamp: changes when the content changes: the ETag of an object store.
        modified: when it was written, in seconds since 1970 by the store's clock; 0 where the store did not say.
    """

    name: str
    size: int
    stamp: str
    modified: float = field(default=0.0, compare=False)


class StoreMissingError(InputNotFoundError):
    """There is no object of this name in the store."""


class StoreChangedError(LockedError):
    """A conditional write found something else than it was to replace. Nothing was written."""


class StoreRefusedError(StorageUnavailableError):
    """The store answers, and refuses: trying again does not help."""


class StoreUnsupportedError(StoreRefusedError):
    """The store cannot do what a lake needs."""


class Store(Protocol):
    """A bucket with a prefix, or a folder.

    Every method raises `StorageUnavailableError` if the store does not answer, after retries, and `CannotWriteError` if it
    refuses to write. Stores are safe to use from several threads.
    """

    @property
    def uri(self) -> str:
        """Where it is, for messages and records; never contains credentials, nor a slash at the end."""

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """The objects whose names begin with `prefix`, sorted by name as UTF-8. Unfinished ones do not appear."""

    def stat(self, name: str) -> Stored | None:
        """The object of this name, or None."""

    def read(self, name: str) -> tuple[bytes, str]:
        """The content of a small object, and its stamp.

        Raises:
            StoreMissingError: there is none.
        """

    def fetch(self, name: str, path: Path) -> Stored:
        """Copies an object to the file `path`, which appears only when all bytes are on the disk and are those stored.

        Raises:
            StoreMissingError: there is none.
            DataError: the content is not the one that was written.
        """

    def write(self, name: str, content: bytes | Path, *, over: str | Over = ANY) -> Stored:
        """Writes a whole object. If the store's answer was lost, finds out whether the object was written.

        Args:
            content: bytes, or the path of a file.
            over: `ANY`, `ABSENT`, or the stamp of the object to replace.

        Raises:
            StoreChangedError: `over` does not hold, and nothing was written. (Also if the object was written, its answer
                was lost, and somebody replaced it before the store could be asked.)
        """

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects; those that are not there count as removed."""

    def sweep(self) -> None:
        """Removes what killed writers left unfinished, where the store does not do that itself."""


def is_uri(where: str) -> bool:
    """Whether `where` is a URI rather than a path."""
    return "://" in where


def is_object_uri(where: str) -> bool:
    """Whether `where` is the URI of something in an object store."""
    return is_uri(where) and where.partition("://")[0] in OBJECT_STORES


def open_store(uri: str) -> Store:
    """The store at `uri`: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://account/container/prefix` or `file:///folder`.

    Asks the store nothing: that it exists shows in its first answer.

    Raises:
        UsageError: an unsupported or malformed URI, or the library of object stores is not installed.
    """
    uri = check_uri(uri)
    if uri.partition("://")[0] in FOLDERS:
        from pipeline.lake.folder_store import FolderStore

        return FolderStore(Path(unquote(urlsplit(uri).path)))
    from pipeline.lake.object_store import ObjectStore

    return ObjectStore(uri)


def check_uri(uri: str) -> str:
    """The URI of a store without a slash at its end.

    Raises:
        UsageError: it is unsupported or malformed, or contains credentials.
    """
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES:
        raise unknown_choice("storage", f"{scheme}://", (f"{known}://" for known in SCHEMES), "Or mount it as a folder.")
    place, _, prefix = rest.partition("/")
    if "@" in place:
        raise UsageError(
            f"{scheme}://…@{place.rpartition('@')[2]}: a URI of a store must not contain credentials. Set them in the "
            "environment or in the files of the storage's own tools; docs/object-stores.md lists them."
        )
    if scheme in FOLDERS:
        if place not in ("", "localhost") or not prefix:
            raise UsageError(f"{uri}: a file URI needs three slashes and an absolute path, as in file:///mnt/share/lake.")
    elif not _BUCKET.fullmatch(place) or (scheme == "az" and not prefix.strip("/")):
        raise UsageError(f"{uri}: expected {_expected(scheme)}.")
    if any(part in (".", "..") for part in prefix.split("/")) or "//" in prefix or _unprintable(prefix):
        raise UsageError(f"{uri!r}: a prefix must not contain '.', '..', empty parts or control characters.")
    return uri.rstrip("/")


def divided(uri: str) -> tuple[str, str]:
    """The URI of the bucket (in Azure: of the container), and the name of the object in it."""
    scheme, _, rest = uri.partition("://")
    parts = rest.split("/")
    depth = 2 if scheme == "az" else 1
    return f"{scheme}://{'/'.join(parts[:depth])}", "/".join(parts[depth:])


def before_wildcards(pattern: str) -> str:
    """The folder of a pattern before its first part with wildcards."""
    folders = pattern.split("/")[:-1]
    return "/".join(itertools.takewhile(lambda part: not glob.has_magic(part), folders))


def check_name(name: str) -> str:
    """The name of an object, if it is one that every store can hold: relative, without empty parts, '.' and '..'.

    Raises:
        UsageError: it is not.
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or _unprintable(name):
        raise UsageError(f"{name!r} is not a name for an object: it must be relative, without empty parts, '.' and '..'.")
    return name


def missing(uri: str, name: str) -> str:
    """The message for an object that is not there."""
    return f"there is no {name} in {uri}. Check the name; somebody may have removed it."


def changed(where: str, over: str | Over, found: bool) -> str:
    """The message for a conditional write that found something else."""
    what = "exists already" if over is Over.ABSENT else "was changed meanwhile" if found else "was removed meanwhile"
    return f"{where} {what}: somebody else wrote to this storage. Nothing was written; run the same command again."


def _expected(scheme: str) -> str:
    return "az://account/container/prefix" if scheme == "az" else f"{scheme}://bucket/prefix"


def _unprintable(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 or "\ud800" <= character <= "\udfff" for character in text)
