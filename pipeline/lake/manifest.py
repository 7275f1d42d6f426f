"""`manifest.json` of a folder that is written once: size and SHA-256 of its files."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.lake.atomic import write_text
from pipeline.lake.damage import damaged, file_sha256

MANIFEST = "manifest.json"
VERSION = 1
REMEDY = "Restore the folder from a backup, or delete it and train again."


def write_manifest(folder: Path, names: Iterable[str]) -> None:
    """Writes the manifest over files of the folder, atomically."""
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)} for name in names}
    write_text(folder / MANIFEST, json.dumps({"version": VERSION, "files": files}, indent=2, sort_keys=True) + "\n")


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and digest by name.

    Raises:
        InputNotFoundError: it is not there.
        DataError: it is damaged, or of a newer version.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
        version = int(content["version"])
        files = {
            str(name): {"bytes": int(at["bytes"]), "sha256": str(at["sha256"])} for name, at in content["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, error, "the manifest", REMEDY) from error
    if version > VERSION:
        raise DataError(f"{path} has version {version}; this release reads up to {VERSION}. Upgrade review-pipeline.")
    return files


def verify_content(folder: Path, name: str, content: bytes) -> None:
    """Checks the content of a file, as it was read, against the manifest.

    Raises:
        DataError: it is another content, or the manifest is damaged.
    """
    _compare(folder, name, hashlib.sha256(content).hexdigest())


def verify_folder(folder: Path) -> list[str]:
    """Reads and verifies every file listed in the manifest; returns their names.

    Raises:
        InputNotFoundError: one does not exist.
        DataError: one has changed.
    """
    names = sorted(read_manifest(folder))
    for name in names:
        try:
            found = file_sha256(folder / name)
        except OSError as error:
            raise damaged(folder / name, error, "the file", REMEDY) from error
        _compare(folder, name, found)
    return names


def _compare(folder: Path, name: str, found: str) -> None:
    promised = read_manifest(folder).get(name, {}).get("sha256")
    if promised != found:
        raise DataError(
            f"{folder / name} is not the file that was written: its SHA-256 is {found[:16]}…, {folder / MANIFEST} says "
            f"{promised[:16] + '…' if promised else 'no digest for it'}. {REMEDY}"
        )
