"""What earlier runs made of the inputs of a folder, found again without reading the inputs: a line for each in the lake's
`predictions/.notes`.

A line holds as long as neither input nor output was touched: size, inode, times of modification and of change are the
same. Nobody can set the time of change, so a file that was replaced or written to shows it. A line that does not hold
costs time only: the contents are then compared. So lines are not synced, and one that is cut short is passed over.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pipeline.lake.atomic import write_text
from pipeline.printable import shown
from pipeline.readers.base import Source
from pipeline.scoring.notes import FOLDER

log = logging.getLogger(__name__)

SETTLED_SECONDS = 2.0
"""Files changed less than this ago may change again within the resolution of their times."""
SPARE_LINES = 256
"""Outdated lines that a file may have beside as many as it has inputs, before it is rewritten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was made of an input.

    Args:
        input: the stamp of the input, see `input_stamp`.
        output: the stamp of the output; empty where the input could not be scored.
        how: digest of all options that decide the output, but the model.
        model: the model that scored it.
        rows: the rows of the output.
        fault: reason and detail, where the input could not be scored.
    """

    input: str
    output: str
    how: str
    model: str
    rows: int = 0
    fault: tuple[str, str] | None = None


class Notes:
    """The notes on the outputs of one folder. A context manager: it adds notes until it is left.

    Args:
        predictions: the lake's folder of predictions.
        folder: the folder of the outputs, absolute.
    """

    def __init__(self, predictions: Path, folder: Path) -> None:
        digest = hashlib.sha256(os.fsencode(shown(str(folder)))).hexdigest()[:16]
        self._path = predictions / FOLDER / f"{digest}.inputs"
        self._folder = folder
        self._notes: dict[str, Note] = {}
        self._lines = 0
        self._file: TextIO | None = None
        for name, note in self._read():
            self._lines += 1
            self._notes[name] = note

    def get(self, name: str) -> Note | None:
        """The note on the output of that name, if there is one."""
        return self._notes.get(name)

    def put(self, name: str, note: Note) -> None:
        """Notes what was made of an input."""
        if self._notes.get(name) == note:
            return
        self._notes[name] = note
        self._lines += 1
        with suppress(OSError):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", encoding="utf-8")
                self._file.write("\n")  # ends a line that a killed run has cut short
            self._file.write(_line(name, note))
            self._file.flush()

    def __enter__(self) -> "Notes":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is None:
            return
        with suppress(OSError):
            self._file.close()
        if self._lines > 2 * len(self._notes) + SPARE_LINES:
            with suppress(Exception):
                write_text(self._path, "".join(_line(name, note) for name, note in sorted(self._notes.items())))

    def _read(self) -> Iterator[tuple[str, Note]]:
        try:
            file = self._path.open(encoding="utf-8")
        except OSError:
            return
        with file, suppress(OSError, UnicodeDecodeError):
            for line in file:
                with suppress(ValueError, KeyError, TypeError, AttributeError):
                    told = json.loads(line)
                    name, rows, fault = told.pop("name"), int(told.pop("rows")), told.pop("fault", None)
                    yield name, Note(**told, rows=rows, fault=None if fault is None else (str(fault[0]), str(fault[1])))


def _line(name: str, note: Note) -> str:
    told: dict[str, Any] = {
        "name": name,
        "input": note.input,
        "output": note.output,
        "how": note.how,
        "model": note.model,
        "rows": note.rows,
    }
    if note.fault is not None:
        told["fault"] = note.fault
    return json.dumps(told) + "\n"


def digest_of(options: Mapping[str, Any]) -> str:
    """A short digest of options."""
    return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:16]


def input_stamp(source: Source) -> str:
    """What changes when a source is written to or replaced; empty where that was a moment ago, or it cannot be asked."""
    if source.remote:
        return source.remote
    try:
        if not source.files:
            return _stamp(source.path.stat(), settled=True)
        total = hashlib.sha256()
        with os.scandir(source.path) as entries:
            found = {entry.name: entry for entry in entries}
        for name in source.files:
            stamp = _stamp(found[name].stat(), settled=True)
            if not stamp:
                return ""
            total.update(f"{name} {stamp}\n".encode("utf-8", "surrogateescape"))
        return total.hexdigest()
    except (OSError, KeyError):
        return ""


def output_stamp(output: Path) -> str:
    """The same for an output; empty where there is none."""
    try:
        return _stamp(output.stat(), settled=False)
    except OSError:
        return ""


def _stamp(status: os.stat_result, *, settled: bool) -> str:
    if settled and time.time() - max(status.st_mtime, status.st_ctime) < SETTLED_SECONDS:
        return ""
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
