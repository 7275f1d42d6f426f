"""Files of JSON lines that only grow. A line is appended with one write and may be torn by a power cut, so lines that are no
entries are passed over."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.lake.atomic import sync_file, sync_folder, writing


def append(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Appends a line for each entry; they are on the disk when this returns.

    Raises:
        CannotWriteError: no permission, no space.
    """
    lines = "".join(json.dumps(dict(entry)) + "\n" for entry in entries)
    with writing(path):
        # A torn last line stays one line of its own.
        torn = path.exists() and not path.read_bytes().endswith(b"\n")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
        try:
            os.write(descriptor, (("\n" if torn else "") + lines).encode())
        finally:
            os.close(descriptor)
        sync_file(path)
        sync_folder(path.parent)


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The objects in the file, oldest first; none where there is no file."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry
