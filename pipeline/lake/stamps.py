"""What a working copy knows of each file of its lake: `.origin/stamps.json`."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.lake.atomic import PREFIX, write_text
from pipeline.lake.origin import FOLDER

STAMPS = "stamps.json"
VERSION = 1
OWN = (FOLDER, ".scratch", ".locks", ".index", ".targets", ".probe")
"""Folders that stay on this machine, or in the store: unfinished work, locks, and what is made again from the lake."""

Identity = tuple[int, int]
"""Size (bytes) and time of modification (ns) of a local file."""


@dataclass(frozen=True, slots=True)
class Note:
    """A file of the lake as it was last seen in the store.

    Args:
        stamp: in the store.
        size: in the store, in bytes.
        modified: when it was written to the store, in seconds since the epoch; 0 where the store does not say.
        local: the local file while it has this content; None while it is only in the store.
        used: when the local file was last asked for, in seconds since the epoch.
    """

    stamp: str
    size: int
    modified: float = 0.0
    local: Identity | None = None
    used: float = 0.0

    def here(self, identity: Identity | None, used: float) -> "Note":
        """The same file with another local one."""
        return replace(self, local=identity, used=used)


Notes = dict[str, Note]
"""By name in the store."""


_READ: dict[Path, tuple[tuple[int, int, int], Mapping[str, Note]]] = {}
"""What was read last, and inode, size and time of the file that it was read from."""


def read_notes(root: Path) -> Mapping[str, Note] | None:
    """What is noted; None where nothing is, or nothing that can be read: then nobody knows which local files are whose."""
    path = root / FOLDER / STAMPS
    try:
        status = path.stat()
    except OSError:
        return None
    identity = status.st_ino, status.st_size, status.st_mtime_ns
    known = _READ.get(root)
    if known is not None and known[0] == identity:
        return known[1]
    notes = _parsed(path)
    if notes is not None:
        _READ[root] = identity, notes
    return notes


def _parsed(path: Path) -> Notes | None:
    try:
        content = json.loads(path.read_bytes())
        if content["version"] != VERSION:
            return None
        return {
            str(name): Note(
                str(stamp), int(size), float(modified), None if at is None else (int(at[0]), int(at[1])), float(used)
            )
            for name, (stamp, size, modified, at, used) in content["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def write_notes(root: Path, notes: Mapping[str, Note]) -> None:
    """Writes what is noted, atomically.

    Raises:
        CannotWriteError: no permission, no space.
    """
    files = {name: [note.stamp, note.size, note.modified, note.local, note.used] for name, note in sorted(notes.items())}
    write_text(root / FOLDER / STAMPS, json.dumps({"version": VERSION, "files": files}) + "\n")


def local_files(root: Path) -> dict[str, Identity]:
    """The finished files of a working copy that belong into the store, by name; links are not followed."""
    found = {}
    for path in _files(root, OWN):
        try:
            found[path.relative_to(root).as_posix()] = identity_of(path)
        except FileNotFoundError:
            continue  # removed in this moment
    return found


def identity_of(path: Path) -> Identity:
    """Size and time of a file.

    Raises:
        FileNotFoundError: it is not there.
    """
    status = path.lstat()
    return status.st_size, status.st_mtime_ns


def is_shared(name: str) -> bool:
    """Whether a file of this name belongs into the store: no lock, no unfinished file, nothing that stays on one machine."""
    parts = name.split("/")
    return parts[0] not in OWN and not any(_is_passing(part) for part in parts)


def _is_passing(part: str) -> bool:
    return part.startswith((PREFIX, ".tmp")) or (part.startswith(".") and part.endswith((".lock", ".owner")))


def _files(folder: Path, skipped: tuple[str, ...] = ()) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name in skipped or _is_passing(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
