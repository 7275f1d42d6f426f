"""Leftovers of crashed runs: unfinished files and folders without a running writer.

Every writer holds a kernel lock on its unfinished files (see `atomic.claimed`), so leftovers are recognised by locks, not
by age. Each run removes leftovers before it starts.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.lake.atomic import PREFIX, abandoned, is_claimed
from pipeline.lake.paths import Lake

CHECKPOINTS = "epoch-*.safetensors"
NOTES = ".notes"
"""The folder of notes in that of predictions."""
AT_THE_ROOT = ("-index.html", "-pipeline.toml")
"""Ends of the names of unfinished files in the lake's own folder, where people keep files, too."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder without an owner. `resumable`: a training that `train --resume` may go on with."""

    path: Path
    bytes: int
    resumable: bool = False
    owner: Path | None = None
    """What its writer claims, where that is not the path itself."""


def find_leftovers(lake: Lake, *, deep: bool = True) -> list[Leftover]:
    """Everything that dead runs left in the lake, sorted by path.

    Args:
        deep: look into the folders of predictions too, of which there may be very many; `score` does so where it writes.
    """
    found = [Leftover(path, size_of(path)) for path in _unfinished(lake) if not is_claimed(path)]
    if deep:
        nested = lake.predictions.glob(f"*/**/{PREFIX}*")
        found += [Leftover(path, size_of(path)) for path in nested if path.parent.name != NOTES and not is_claimed(path)]
    found += [Leftover(path, size_of(path), owner=path.parent) for path in _unfinished_checkpoints(lake)]
    for folder in [*_entries(lake.checkpoints), *_entries(lake.crossval().checkpoints)]:
        if folder.is_dir() and not folder.name.startswith(PREFIX) and not is_claimed(folder):
            # Of a lake on a store, it may be at work on another machine, and its checkpoints may not be here.
            resumable = lake.origin is not None or any(folder.glob(CHECKPOINTS))
            found.append(Leftover(folder, size_of(folder), resumable=resumable))
    return sorted(found, key=lambda leftover: leftover.path)


def set_aside(lake: Lake) -> list[Leftover]:
    """What `pipeline repair` could not use and has put into `.damaged/`."""
    return sorted((Leftover(path, size_of(path)) for path in _entries(lake.damaged)), key=lambda leftover: leftover.path)


def sweep_leftovers(lake: Lake) -> list[Leftover]:
    """Removes leftovers of crashed runs, except training runs that can be resumed; returns what was removed. Never fails."""
    gone = []
    with suppress(OSError):
        for leftover in find_leftovers(lake, deep=False):
            if not leftover.resumable and remove_abandoned(leftover):
                gone.append(leftover)
    return gone


def remove_abandoned(leftover: Leftover) -> bool:
    """Removes what a dead run left, unless a living one has taken it up since it was found; whether it went."""
    with abandoned(leftover.owner or leftover.path) as free:
        if free:
            remove(leftover.path)
        return free


def remove(path: Path) -> None:
    """Removes a file or a folder, if it exists; removes a symbolic link, not its target."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _unfinished(lake: Lake) -> Iterator[Path]:
    """Name patterns of unfinished files, in every folder that commands write to."""
    folders = [lake.vocabulary, lake.rejects, lake.models, lake.predictions, lake.runs, lake.locks, lake.tokens]
    folders += [lake.retracted, lake.erased, lake.index, lake.pretrained, *_entries(lake.targets)]
    crossval = lake.crossval()
    for folder in [*folders, lake.predictions / NOTES, *_entries(crossval.folder)]:
        yield from (path for path in _entries(folder) if path.name.startswith(PREFIX))
    for path in _entries(lake.root):
        if path.name.startswith(PREFIX) and path.name.endswith(AT_THE_ROOT):
            yield path
    for folder in _entries(lake.scratch):
        yield from _entries(folder)
    bundles = (lake.models, lake.pretrained, crossval.models, crossval.pretrained)
    for folder in [entry for place in bundles for entry in _entries(place)]:
        if not folder.name.startswith(PREFIX):
            yield from (path for path in _entries(folder) if path.name.startswith(PREFIX))


def _unfinished_checkpoints(lake: Lake) -> Iterator[Path]:
    for folder in [*_entries(lake.checkpoints), *_entries(lake.crossval().checkpoints)]:
        if not is_claimed(folder):
            yield from (path for path in _entries(folder) if path.name.startswith(".tmp"))  # safetensors names some itself


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def size_of(path: Path) -> int:
    """The size of a file or of a folder's content in bytes; files removed meanwhile count as 0."""
    if path.is_symlink() or not path.is_dir():
        return _bytes(path)
    return sum(_bytes(inner) for inner in path.rglob("*") if not inner.is_dir())


def _bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
