"""A store in a bucket: Amazon S3 and servers that speak its protocol, Google Cloud Storage, Azure.

obstore binds object_store, the library that Delta's implementation in Rust uses. It signs requests, retries them with
backoff, uploads large files in parts, and goes on with a download where the server hung up. Here is what it leaves open: who
won when the answer to a write was lost, the check that what arrives is what was written, and words for people.

Each object is written with two entries of metadata: `writeid`, by which a writer that got no answer recognises its own
object, and `sha256`.
"""

import hashlib
import io
import random
import secrets
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from pipeline.errors import DataError, PipelineError, StorageUnavailableError
from pipeline.lake.atomic import atomic_path
from pipeline.lake.object_client import client_for
from pipeline.lake.object_errors import translated
from pipeline.lake.store import (
    ABSENT,
    ANY,
    Over,
    StoreChangedError,
    Stored,
    StoreMissingError,
    StoreRefusedError,
    StoreUnsupportedError,
    changed,
    check_name,
    check_uri,
)

WRITE_ID, SHA256 = "writeid", "sha256"
"""Names without hyphens or underscores: Azure refuses the former, and some proxies drop the latter."""
CHUNK_BYTES = 1 << 20
"""Bytes of a download that are written at a time."""
PART_BYTES = 16 << 20
"""Size of the parts of larger uploads. S3 allows 10,000 of them."""
PARTS_AT_ONCE = 4
ASKED_AT_ONCE = 16
LISTED_AT_ONCE = REMOVED_AT_ONCE = 1000
ATTEMPTS = 6
"""How often a request is made that obstore itself does not repeat."""
PATIENCE_SECONDS = 8.0
"""After so long obstore has repeated it often enough."""
PAUSE_SECONDS = 0.2

Answer = TypeVar("Answer")


class ObjectStore:
    """A bucket, or what lies below a prefix in it.

    Args:
        uri: `s3://bucket/prefix` or another that `open_store` allows.

    Raises:
        UsageError: obstore is not installed, or its settings in the environment are invalid.
    """

    def __init__(self, uri: str) -> None:
        self._uri = check_uri(uri)
        self._client = client_for(self._uri)
        self._has_generations = self._uri.startswith("gs://")

    @property
    def uri(self) -> str:
        """Scheme, bucket and prefix."""
        return self._uri

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """The objects whose names begin with `prefix`, sorted by name as UTF-8, without markers of folders."""
        import obstore

        above, _, _ = prefix.rpartition("/")

        def ask() -> list[Stored]:
            with self._asking(prefix):
                return [
                    self._stored(meta)
                    for chunk in obstore.list(self._client, above or None, chunk_size=LISTED_AT_ONCE)
                    for meta in chunk
                    if meta["path"].startswith(prefix) and meta["path"]
                ]

        yield from self._without_markers(sorted(_patiently(ask), key=lambda stored: stored.name.encode()))

    def stat(self, name: str) -> Stored | None:
        """The object of this name, or None."""
        import obstore

        def ask() -> Stored | None:
            with suppress(StoreMissingError), self._asking(name):
                return self._stored(obstore.head(self._client, check_name(name)))
            return None

        return _patiently(ask)

    def read(self, name: str) -> tuple[bytes, str]:
        """The content of an object, and its stamp."""
        content = io.BytesIO()
        stored = self._receive(name, content)
        return content.getvalue(), stored.stamp

    def fetch(self, name: str, path: Path) -> Stored:
        """Copies an object to the file `path`."""
        with atomic_path(path) as temporary, temporary.open("r+b") as file:
            return self._receive(name, file)

    def write(self, name: str, content: bytes | Path, *, over: str | Over = ANY) -> Stored:
        """Writes a whole object. A conditional write has all of its content in memory at once."""
        attributes = {WRITE_ID: secrets.token_hex(16), SHA256: _sha256(content)}
        check_name(name)

        def ask() -> Stored:
            try:
                return self._put(name, content, attributes, over)
            except (StorageUnavailableError, StoreChangedError, StoreMissingError) as error:
                if isinstance(error, StoreRefusedError):
                    raise
                return self._who_won(name, attributes[WRITE_ID], over, error)

        return _patiently(ask)

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects; those that are not there count as removed."""
        waiting = [check_name(name) for name in names]
        for start in range(0, len(waiting), REMOVED_AT_ONCE):
            some = waiting[start : start + REMOVED_AT_ONCE]
            _patiently(partial(self._remove, some))

    def _without_markers(self, found: Sequence[Stored]) -> Iterator[Stored]:
        """Leaves out objects like `raw/`, with which consoles and other tools mark folders: obstore lists them as `raw`."""
        names = [stored.name for stored in found]  # sorted as text in the same way as in UTF-8

        def is_marker(stored: Stored) -> bool:
            folder = f"{stored.name}/"
            first_inside = bisect_left(names, folder)
            return (first_inside < len(names) and names[first_inside].startswith(folder)) or self.stat(stored.name) is None

        empty = [stored for stored in found if not stored.size]
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            markers = {stored.name for stored, marks in zip(empty, pool.map(is_marker, empty), strict=True) if marks}
        return (stored for stored in found if stored.name not in markers)

    def sweep(self) -> None:
        """Nothing: parts of uploads that were cut off are up to a rule of the bucket; docs/object-stores.md has one."""

    def _remove(self, names: Sequence[str]) -> None:
        import obstore

        with self._asking(names[0], writing=True):
            try:
                obstore.delete(self._client, [*names])
            except FileNotFoundError:  # S3 does not mind; of the others nobody knows which ones are left
                for name in names:
                    with suppress(FileNotFoundError):
                        obstore.delete(self._client, name)

    def _put(self, name: str, content: bytes | Path, attributes: dict[str, str], over: str | Over) -> Stored:
        import obstore

        size = content.stat().st_size if isinstance(content, Path) else len(content)
        mode = self._mode(name, over)
        with self._asking(name, writing=True):
            answer = obstore.put(
                self._client,
                name,
                content,
                attributes=attributes,
                mode=mode,
                use_multipart=over is ANY and size > PART_BYTES,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        return self._stored({**answer, "path": name, "size": size})

    def _mode(self, name: str, over: str | Over) -> Any:
        """The condition as obstore wants it. Google's are on the generation of an object, which its listings do not tell.

        Raises:
            StoreChangedError, StoreMissingError: it does not hold already.
        """
        import obstore

        if isinstance(over, Over):
            return "overwrite" if over is ANY else "create"
        if not self._has_generations:
            return {"e_tag": over}
        with self._asking(name):
            found = obstore.head(self._client, name)
        if found["e_tag"] != over:
            raise StoreChangedError(changed(f"{self.uri}/{name}", over, True))
        return {"version": found["version"]}

    def _who_won(self, name: str, write_id: str, over: str | Over, failure: PipelineError) -> Stored:
        """After a write that failed, or got no answer: the object says who wrote it.

        A repeated request may be told that the condition does not hold because the first one has landed.

        Raises:
            StoreChangedError: somebody else.
            StorageUnavailableError: not this write, and the condition still holds.
        """
        import obstore

        def ask() -> tuple[Stored | None, str]:
            with suppress(StoreMissingError), self._asking(name):
                found = obstore.get(self._client, name, options={"head": True})
                return self._stored(found.meta), str(found.attributes.get(WRITE_ID, ""))
            return None, ""

        current, written_by = _patiently(ask)
        if current is not None and written_by == write_id:
            return current
        if over is ANY or (current.stamp if current else ABSENT) == over:
            raise StorageUnavailableError(str(failure)) from failure
        raise StoreChangedError(changed(f"{self.uri}/{name}", over, current is not None)) from failure

    def _receive(self, name: str, file: IO[bytes]) -> Stored:
        """Writes an object's content to an empty file. Starts over if somebody replaces the object in the middle."""

        def ask() -> Stored:
            file.seek(0)
            file.truncate()
            try:
                return self._receive_once(check_name(name), file)
            except StoreChangedError as error:
                text = f"{self.uri}/{name} kept changing while it was read. Run the same command again."
                raise StorageUnavailableError(text) from error

        return _patiently(ask)

    def _receive_once(self, name: str, file: IO[bytes]) -> Stored:
        import obstore

        with self._asking(name):
            result = obstore.get(self._client, name)
        stored, expected = self._stored(result.meta), result.attributes.get(SHA256)
        chunks = iter(result.stream(min_chunk_size=CHUNK_BYTES))  # goes on where the server hangs up, a few times
        received, digest = 0, hashlib.sha256()
        while True:
            with self._asking(name):
                chunk = next(chunks, None)
            if chunk is None:
                break
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
        if received != stored.size:
            raise StorageUnavailableError(f"{self.uri}/{name} ended after {received:,} of {stored.size:,} bytes. Try again.")
        if expected and digest.hexdigest() != expected:
            raise DataError(
                f"{self.uri}/{name}: the content that arrived is not the one that was written: its SHA-256 is "
                f"{digest.hexdigest()}, expected {expected}. Run the same command again; if it happens again, "
                "the object is damaged in the store: restore an older version of it."
            )
        return stored

    def _stored(self, meta: Any) -> Stored:
        stamp = meta["e_tag"]
        if not stamp:
            raise StoreUnsupportedError(f"{self.uri} gives no ETag of {meta['path']}, so its changes cannot be seen.")
        modified = meta.get("last_modified")
        return Stored(meta["path"], meta["size"], str(stamp), modified.timestamp() if modified else 0.0)

    def _error(self, error: Exception, name: str, *, writing: bool = False) -> PipelineError:
        return translated(error, self.uri, name, writing=writing)

    @contextmanager
    def _asking(self, name: str, *, writing: bool = False) -> Iterator[None]:
        """Converts obstore's errors in the block to ours."""
        try:
            yield
        except PipelineError:
            raise
        except Exception as error:
            raise self._error(error, name, writing=writing) from error


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """Asks, and asks again where obstore did not: in the middle of an answer, or when repeating may not be safe."""
    began, pause = time.monotonic(), PAUSE_SECONDS
    for _ in range(ATTEMPTS - 1):
        try:
            return ask()
        except StoreRefusedError:
            raise
        except StorageUnavailableError:
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise
        time.sleep(pause * random.uniform(0.5, 1))
        pause *= 2
    return ask()


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
