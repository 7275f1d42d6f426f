"""Where the working copy of a lake is, and what it is a copy of. Small, because every command asks it.

A lake on an object store is worked on in a local folder, as git works on a clone. The folder `.origin/` in it says so; a
lake without one is a folder and nothing else, and pays one look for that.
"""

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

from pipeline.errors import DataError, UsageError
from pipeline.lake.atomic import WORKING_COPY, write_text
from pipeline.lake.links import without_links
from pipeline.lake.store import FOLDERS, check_uri
from pipeline.printable import show_as

CACHE = "PIPELINE_CACHE"
"""The environment variable with the folder of all working copies."""
FOLDER = WORKING_COPY
"""What a working copy knows about its origin, in the folder of the lake."""
ORIGIN = "origin.json"
ON_A_FOLDER = "file+store"
"""The scheme of a lake in a folder that is worked on in a local copy; under `file://`, a lake is the folder itself."""
VERSION = 1
_FOUND: dict[Path, str] = {}
"""The lakes that this process has named by their URIs."""


def cache_folder() -> Path:
    """The folder of all working copies: $PIPELINE_CACHE, else that of the user's caches."""
    if given := os.environ.get(CACHE):
        return without_links(Path(given).expanduser())
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return without_links(caches.expanduser()) / "review-pipeline"


def working_folder(uri: str) -> Path:
    """The folder of the working copy of the lake at `uri`. Nothing is made there.

    Raises:
        UsageError: no URI of a supported storage.
    """
    uri = _lake_uri(uri)
    root = cache_folder() / hashlib.sha256(uri.encode()).hexdigest()[:16] / "lake"
    _FOUND[root] = uri
    show_as(root, uri)
    return root


def make_working_folder(root: Path, uri: str) -> None:
    """Makes the folder of a working copy, which says whose copy it is, if it is not there or that cannot be read.

    Raises:
        CannotWriteError: the folder cannot be made.
        DataError: the working copy is of a newer release.
    """
    if _described(root) is None:
        described = {"version": VERSION, "uri": uri, "copy": secrets.token_hex(8)}
        write_text(root / FOLDER / ORIGIN, json.dumps(described) + "\n")


def origin_uri(root: Path) -> str | None:
    """The URI of the lake that `root` is a working copy of; None where it is not.

    Raises:
        DataError: the working copy is of a newer release.
    """
    described = _described(root)
    if described is None:
        return _FOUND.get(root)
    show_as(root, described[0])
    return described[0]


def copy_id(root: Path) -> str:
    """What tells this working copy from all others; "" where it says nothing of itself."""
    described = _described(root)
    return "" if described is None else described[1]


def store_uri(uri: str) -> str:
    """The URI of the store that holds the lake at `uri`."""
    return uri.replace(f"{ON_A_FOLDER}://", f"{FOLDERS[0]}://", 1)


def located(root: Path, text: str) -> Path:
    """The place that `text` names: inside the working copy if it is a URI inside the lake, else the path it is."""
    with suppress(DataError):
        uri = origin_uri(root)
        for given in (uri, str(Path(uri))) if uri is not None else ():  # a Path of a URI has lost a slash
            if text == given or text.startswith(f"{given}/"):
                return root / text.removeprefix(given).lstrip("/")
    return Path(text)


def _described(root: Path) -> tuple[str, str] | None:
    """The URI in a working copy's description of itself, and what tells it from others; None where there is none.

    Raises:
        DataError: it is of a newer release.
    """
    path = root / FOLDER / ORIGIN
    try:
        content = json.loads(path.read_bytes())
        version, uri, copy = int(content["version"]), str(content["uri"]), str(content.get("copy", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if "://" not in uri:
        return None
    if version > VERSION:
        raise DataError(f"{path} has version {version}; this release reads up to {VERSION}. Upgrade review-pipeline.")
    return uri, copy


def _lake_uri(uri: str) -> str:
    if uri.startswith(f"{ON_A_FOLDER}://"):
        return check_uri(store_uri(uri)).replace(f"{FOLDERS[0]}://", f"{ON_A_FOLDER}://", 1)
    if uri.partition("://")[0] in FOLDERS:
        raise UsageError(
            f"--lake {uri}: a lake in a folder has no working copy. Use {ON_A_FOLDER}:// to work on a local copy."
        )
    return check_uri(uri)
