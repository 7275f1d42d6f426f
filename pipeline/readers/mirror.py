"""Sources in a store: found by a listing, fetched when their turn comes, removed after it.

A mirror is a folder that repeats the names of the objects. While the walker looks, each object has an empty file there, so
that formats, hidden files, patterns, columns in the names of folders and the layout of aclImdb are found by the same rules
as in a folder. Afterwards a file is there only while it is being read.
"""

import errno
import fnmatch
import glob
import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.errors import InputNotFoundError
from pipeline.lake.atomic import claimed, make_folder, writing
from pipeline.lake.leftovers import remove
from pipeline.lake.store import (
    ABSENT,
    ANY,
    FOLDERS,
    Over,
    Store,
    Stored,
    StoreMissingError,
    before_wildcards,
    check_name,
    check_uri,
    divided,
    is_uri,
    open_store,
)
from pipeline.printable import show_as
from pipeline.progress import AS_IT_IS
from pipeline.readers.base import FileFault, Source
from pipeline.readers.layout import is_hidden
from pipeline.readers.registry import format_named
from pipeline.readers.walk import some_of
from pipeline.readers.zip_members import table_in

log = logging.getLogger(__name__)

FETCHED_AT_ONCE = 16
NOT_A_FILE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
"""An object may have a name that is a prefix of others, or a part of 1,024 bytes; a file may not."""
AHEAD, AHEAD_BYTES = 8, 64 << 20
"""So many files are fetched ahead of the one that is read if they are so small together; else one."""
UNUSED = "nothing is mirrored"
CONDITIONAL_BYTES = 256 << 20
"""A conditional write holds the file in memory; larger outputs replace whatever is there."""
SMALL_BYTES = 1 << 20
"""Texts up to this size go through memory, which saves a sync to the disk for each."""


class Mirror:
    """What is fetched from stores, below a folder of its own.

    Args:
        root: an empty folder, absolute and without links.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stores: dict[str, Store] = {}
        self._objects: dict[str, Stored] = {}
        """By path below the root."""
        self._threads = ThreadPoolExecutor(FETCHED_AT_ONCE, "fetch")

    def close(self) -> None:
        """Waits for what is being fetched."""
        self._threads.shutdown(cancel_futures=True)

    @contextmanager
    def listed(self, places: Sequence[str]) -> Iterator[list[str]]:
        """Lists the stores. Yields the places, URIs as paths in the mirror, where files stand for objects during the block.

        Raises:
            InputNotFoundError: there is no such object or prefix.
            StorageUnavailableError: a store does not answer, or refuses.
        """
        try:
            yield [self._place(place) if is_uri(place) else place for place in places]
        finally:
            for inside in self._objects:
                (self.root / inside).unlink(missing_ok=True)

    def name_of(self, otherwise: Callable[[Path], str], lake: str = "") -> Callable[[Path], str]:
        """How the lake calls a path: one in the mirror by its URI, others as `otherwise` does.

        Args:
            lake: its URI, if it is on a store; an object in it has a name relative to it, as if it was in the working copy.
        """

        def name(path: Path) -> str:
            if not path.is_relative_to(self.root):
                return otherwise(path)
            uri = self.uri_of(path)
            return uri.removeprefix(f"{lake}/") if lake else uri

        return name

    def place_of(self, uri: str) -> Path:
        """Where the file for the object at a URI stands, if there is one."""
        return self.root / uri.replace("://", "/", 1)

    def uri_of(self, path: Path) -> str:
        """The URI that a path in the mirror stands for."""
        scheme, _, rest = path.relative_to(self.root).as_posix().partition("/")
        return f"{scheme}://{rest}"

    def remote(self, sources: Sequence[Source]) -> list[Source]:
        """The sources, each with the stamp of its object; those that are no objects as they are."""
        return [self._remote(source) if source.path.is_relative_to(self.root) else source for source in sources]

    def fetch(self, source: Source) -> Source:
        """Puts the file, or files, of a source in their place; as it then is.

        Raises:
            StoreMissingError: somebody removed the object.
            StorageUnavailableError: the store does not answer.
        """
        if not source.remote:
            return source
        if source.files:
            for _ in self._threads.map(self._fetch_text, [source.path / name for name in source.files]):
                pass
            return source
        store, stored = self._object(source.path)
        source = replace(source, remote=store.fetch(stored.name, source.path).stamp)
        if source.format == "zip" and (table := table_in(source.path)):
            source = replace(source, format=table.name, compression="zip")
        return source

    @contextmanager
    def present(self, source: Source) -> Iterator[Source]:
        """Has the source's files there for the block.

        Raises:
            FileFault: the object was replaced or removed since it was listed.
        """
        try:
            try:
                fetched = self.fetch(source)
            except StoreMissingError:
                fetched = replace(source, remote="missing")
            if fetched.remote != source.remote:
                detail = "the object was replaced or removed after this run had listed it. Run the same command again"
                raise FileFault(source.name, "changed", detail)
            yield fetched
        finally:
            self.release(source)

    def release(self, source: Source) -> None:
        """Removes what was fetched of a source."""
        if source.remote:
            for path in [source.path / name for name in source.files] or [source.path]:
                path.unlink(missing_ok=True)

    def output(self, uri: str) -> "Output":
        """The place in the mirror for a file that will be put into a store; what is there now is fetched.

        Raises:
            StorageUnavailableError: the store does not answer, or refuses.
        """
        bucket, name = divided(check_uri(uri))
        folder = self.root / bucket.replace("://", "/")
        store = self._stores.setdefault(bucket, open_store(bucket))
        show_as(folder, bucket)
        path = folder / check_name(name)
        before = store.stat(name)
        return Output(store, name, path, store.fetch(name, path).stamp if before else ABSENT)

    def arriving(self, sources: Sequence[Source]) -> "Sequence[Source]":
        """The sources for one who reads them in order: each is fetched when it is asked for."""
        return _Arriving(self, sources) if any(source.remote for source in sources) else sources

    def size(self, source: Source) -> int:
        """Bytes of the object of a source that is one file."""
        return self._object(source.path)[1].size if source.remote and not source.files else 0

    def empty(self, sources: Sequence[Source]) -> list[str]:
        """Names of tables of text of no bytes, which are read without a fault."""
        return [source.name for source in sources if _is_text_table(source) and self._bytes(source) == 0]

    def warn_of_empty(self, sources: Sequence[Source]) -> None:
        """Warns of tables of text of no bytes."""
        if names := self.empty(sources):
            text = "%s: empty (0 bytes), without a header or reviews. Check that writing finished"
            log.warning(text, some_of(names), extra=AS_IT_IS)

    def ahead(self, source: Source) -> "Future[Source]":
        """Fetches a source in the background."""
        return self._threads.submit(self.fetch, source)

    def _place(self, uri: str) -> str:
        """The place in the mirror for an object, for what is below a prefix, or for a pattern; makes the files there."""
        if uri.partition("://")[0] in FOLDERS:
            return unquote(urlsplit(check_uri(uri)).path)
        bucket, key = divided(check_uri(uri))
        folder = self.root / bucket.replace("://", "/")
        if bucket not in self._stores:
            self._stores[bucket] = open_store(bucket)
            show_as(folder, bucket)
        store = self._stores[bucket]
        found, fixed = _objects_at(store, key, is_prefix=uri.endswith("/"))
        if not found:
            what = "matches" if glob.has_magic(key) else "is"
            raise InputNotFoundError(f"no object {what} {uri}, and none is below it. Check the bucket and the name.")
        for stored in found:
            self._stand_in(folder, stored)
        if fixed == key and found[0].name != key:
            make_folder(folder / key)
        return str(folder / key) if fixed == key else f"{glob.escape(str(folder))}/{key}"

    def _stand_in(self, folder: Path, stored: Stored) -> None:
        """Makes an empty file for an object."""
        path = folder / stored.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (0, 0))  # an object is whole, however new it is
        except OSError as error:
            if error.errno not in NOT_A_FILE:
                raise
            if stored.size:  # without a size it is the marker of a folder
                text = "%s is passed over: its name cannot be that of a file (%s)"
                log.warning(text, self.uri_of(path), error.strerror, extra=AS_IT_IS)
            return
        self._objects[path.relative_to(self.root).as_posix()] = stored

    def _bytes(self, source: Source) -> int | None:
        """The size of a source that is one file, as it was found; None if nobody has asked."""
        if source.remote:
            return self.size(source)
        return source.stamp.size if source.stamp else None

    def _remote(self, source: Source) -> Source:
        if not source.files:
            return replace(source, remote=self._object(source.path)[1].stamp, stamp=None)
        digest = hashlib.sha256()
        for name in source.files:
            digest.update(f"{name} {self._object(source.path / name)[1].stamp}\n".encode("utf-8", "surrogateescape"))
        return replace(source, remote=digest.hexdigest())

    def _object(self, path: Path) -> tuple[Store, Stored]:
        inside = path.relative_to(self.root).as_posix()
        bucket, _ = divided(self.uri_of(path))
        return self._stores[bucket], self._objects[inside]

    def _fetch_text(self, path: Path) -> None:
        """Fetches one review; where it is gone, whoever opens it says so."""
        store, stored = self._object(path)
        with suppress(StoreMissingError):
            if stored.size > SMALL_BYTES:
                store.fetch(stored.name, path)
            else:
                content, _ = store.read(stored.name)
                with writing(path):
                    path.write_bytes(content)


@dataclass
class Output:
    """A file that is written in a mirror and then put into its store.

    Args:
        over: what the object replaces: the one that was fetched, or nothing.
    """

    store: Store
    name: str
    path: Path
    over: str | Over

    def put(self) -> None:
        """Puts the file into the store.

        Raises:
            StoreChangedError: somebody else has written there since, and the file is not too large to find that out.
        """
        over = self.over if self.path.stat().st_size <= CONDITIONAL_BYTES else ANY
        self.over = self.store.write(self.name, self.path, over=over).stamp


class _Arriving(Sequence[Source]):
    """Fetches a source when it is asked for, then the next one, or several small ones, ahead, and removes the one before.
    Texts stay until the mirror goes: workers read them later."""

    def __init__(self, mirror: Mirror, sources: Sequence[Source]) -> None:
        self.mirror, self.sources = mirror, sources
        self._coming: dict[int, Future[Source]] = {}
        self._here: int | None = None

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, number: Any) -> Any:
        """The source, fetched; if it is gone, whoever opens it says so."""
        if self._here is not None and not self.sources[self._here].files:
            self.mirror.release(self.sources[self._here])
        self._here = number
        with suppress(StoreMissingError):
            coming = self._coming.pop(number, None)
            source = self.mirror.fetch(self.sources[number]) if coming is None else coming.result()
            self._fetch_next(number + 1)
            return source
        return self.sources[number]

    def _fetch_next(self, first: int) -> None:
        size = 0
        for number in range(first, min(first + AHEAD, len(self.sources))):
            source = self.sources[number]
            size += self.mirror.size(source)
            if source.files or (number > first and size > AHEAD_BYTES):
                return
            if number not in self._coming:
                self._coming[number] = self.mirror.ahead(source)


@contextmanager
def mirrored(places: Sequence[str], scratch: Path | None) -> Iterator[Mirror]:
    """A mirror for the block, in `scratch` or a temporary folder. Nothing is made where no place is a URI."""
    if not any(map(is_uri, places)):
        yield Mirror(Path("/", UNUSED))
        return
    with TemporaryDirectory(prefix="pipeline-") if scratch is None else nullcontext(str(scratch)) as folder:
        root = Path(folder).resolve() / "sources" / secrets.token_hex(8)
        with claimed(root, make_folder):
            mirror = Mirror(root)
            try:
                yield mirror
            finally:
                mirror.close()
                remove(root)


def is_anything_at(uri: str) -> bool:
    """Whether there is an object at a URI, or below it, or one that matches the pattern that it is.

    Raises:
        StorageUnavailableError: the store does not answer, or refuses.
    """
    bucket, key = divided(check_uri(uri))
    found, fixed = _objects_at(open_store(bucket), key, is_prefix=uri.endswith("/"))
    return bool(found) if fixed == key else any(_matches(stored.name.split("/"), key.split("/")) for stored in found)


def _objects_at(store: Store, key: str, *, is_prefix: bool) -> tuple[list[Stored], str]:
    """The objects that a name may mean, without hidden ones, and the part of the name that has no wildcards."""
    if key and not is_prefix and (named := store.stat(key)) is not None:
        return [named], key
    if glob.has_magic(key) and (found := _below(store, key)):  # as on a disk, what there is comes before patterns
        return found, key
    fixed = before_wildcards(key) if glob.has_magic(key) else key
    return _below(store, fixed), fixed


def _below(store: Store, folder: str) -> list[Stored]:
    """The objects below a folder, without hidden ones."""
    prefix = f"{folder}/" if folder else ""
    return [stored for stored in store.list(prefix) if not is_hidden(stored.name.removeprefix(prefix))]


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a pattern matches a name, or a folder above it."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_matches(parts[skipped:], pattern[1:]) for skipped in range(len(parts)))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _is_text_table(source: Source) -> bool:
    kind = format_named(source.format)
    return kind.read is not None and kind.compressible
