"""Downloads one file over HTTP with the standard library: whole and hash-checked, or not there at all."""

import hashlib
import http.client
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import CannotWriteError, DataError, InputNotFoundError, StorageUnavailableError, UsageError
from pipeline.lake.atomic import atomic_path, make_folder, writing
from pipeline.progress import track
from pipeline.version import __version__

CHUNK_BYTES = 1 << 20
GONE = (401, 403, 404, 410)
"""HTTP statuses for which a retry does not help."""
ALGORITHMS = ("md5", "sha256")


def download(url: str, target: Path, expected: Mapping[str, str], timeout_seconds: float) -> dict[str, str]:
    """Downloads `url` to `target`, which appears only when every byte arrived and the digests are those expected.

    Args:
        expected: hex digests by algorithm (`md5`, `sha256`); at least one.
        timeout_seconds: how long the server may stay silent.

    Returns:
        The file's hex digests by algorithm.

    Raises:
        InputNotFoundError: the server does not have it.
        StorageUnavailableError: no connection, silence, or the connection ended early.
        DataError: the bytes are not those expected.
        CannotWriteError: the place cannot be written, or has too little room.
    """
    check_url(url)
    make_folder(target.parent)
    request = urllib.request.Request(url, headers={"User-Agent": f"review-pipeline/{__version__}"})
    with writing(target):
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds) as response, atomic_path(target) as temporary:
                told = response.headers.get("Content-Length") or ""
                length = int(told) if told.isascii() and told.isdigit() else None
                _check_room(target, length)
                with temporary.open("wb") as file:
                    digests = _receive(url, response, file, length)
                check_digests(url, digests, expected)
                return digests
        except urllib.error.HTTPError as error:
            raise _refused(url, error) from None
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise StorageUnavailableError(
                f"{url} does not answer: {reason or type(error).__name__}. Check the network and the proxy settings, "
                "try again, or use a mirror with --url."
            ) from error


def check_url(url: str) -> None:
    """Raises `UsageError` unless `url` is an HTTP URL with all characters beyond ASCII percent-encoded."""
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if good and not (url.isascii() and url.isprintable() and " " not in url):
        raise UsageError(f"--url {url!r}: percent-encode spaces and non-ASCII characters, as in caf%C3%A9.")
    if not good:
        raise UsageError(f"--url {url}: use a URL that begins with https:// or http://. For a local file, copy it instead.")


def check_digests(what: str, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Raises `DataError` unless the digests found are those expected."""
    for algorithm, digest in expected.items():
        if found[algorithm] != digest.lower():
            raise DataError(
                f"{what}: its {algorithm} is {found[algorithm]}, expected {digest.lower()}. The download was discarded. The "
                f"server sent another file, or it changed in transit; if you trust it, pass its digest with --{algorithm}."
            )


def digests_of(path: Path) -> dict[str, str]:
    """Hex digests of a file by algorithm."""
    with path.open("rb") as file:
        hashers = {name: hashlib.new(name, usedforsecurity=False) for name in ALGORITHMS}
        while chunk := file.read(CHUNK_BYTES):
            for hasher in hashers.values():
                hasher.update(chunk)
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}


def _receive(url: str, response: http.client.HTTPResponse, file: BinaryIO, length: int | None) -> dict[str, str]:
    hashers = {name: hashlib.new(name, usedforsecurity=False) for name in ALGORITHMS}
    received = 0
    with track("fetch", length, "bytes") as progress:
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            received += len(chunk)
            progress.advance(len(chunk))
            for hasher in hashers.values():
                hasher.update(chunk)
    if length is not None and received != length:
        raise StorageUnavailableError(
            f"{url}: the connection ended after {received:,} of {length:,} bytes. The download was discarded; try again."
        )
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}


def _check_room(target: Path, length: int | None) -> None:
    free = shutil.disk_usage(target.parent).free
    if length is not None and length > free:
        raise CannotWriteError(
            f"cannot write {target}: it needs {length:,} bytes, but {target.parent} has only {free:,} free. Free some space."
        )


def _refused(url: str, error: urllib.error.HTTPError) -> InputNotFoundError | StorageUnavailableError:
    status = f"{error.code} {error.reason}"
    if error.code in GONE:
        return InputNotFoundError(f"download of {url} failed: the server responded with {status}. Use a mirror with --url.")
    return StorageUnavailableError(f"download of {url} failed: the server responded with {status}. Try again later.")
