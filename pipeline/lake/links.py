"""Symbolic links on the way to a file."""

import errno
import os
from pathlib import Path

from pipeline.errors import CannotWriteError


def without_links(path: Path) -> Path:
    """The absolute path without links. Where links lead in a circle, the path ends in one of them."""
    return Path(os.path.realpath(path))  # not Path.resolve: before Python 3.13 it raises RuntimeError for a circle


def is_circular(path: Path) -> bool:
    """Whether links on the way to a file lead in a circle."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def place_to_write(path: Path) -> Path:
    """Where an output goes: the absolute path without `~` and links.

    Raises:
        CannotWriteError: links on the way to it lead in a circle.
    """
    path = path.expanduser()
    if is_circular(path):
        raise CannotWriteError(f"cannot write {path}: symbolic links on its way lead in a circle. Fix the link.")
    return without_links(path)
