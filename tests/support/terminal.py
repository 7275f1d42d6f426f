"""Runs a command in a pseudo-terminal of a given size, as a person's terminal would."""

import errno
import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyte

ROOT = Path(__file__).resolve().parents[2]
LONG = 1000


@dataclass(frozen=True)
class Shown:
    """What a command sent to its terminal, of `columns` columns, and its exit code."""

    raw: bytes
    code: int
    columns: int

    def screen(self, columns: int | None = None) -> pyte.Screen:
        """The screen after the command, as if the terminal had this many columns and never scrolled."""
        screen = pyte.Screen(columns or self.columns, LONG)
        pyte.ByteStream(screen).feed(self.raw)
        return screen

    @property
    def text(self) -> str:
        """What can be read at the end, in lines as the command broke them; bars that went are not there."""
        rows = self.screen(LONG).buffer
        last = max((number for number, row in rows.items() if _written(row)), default=-1)
        return "".join(f"{_written(rows[number])}\n" for number in range(last + 1))


def _written(row: Mapping[int, Any]) -> str:
    """A line of a screen as text."""
    return "".join(row[place].data for place in range(max(row, default=-1) + 1)).rstrip()


def run_in_terminal(
    command: Sequence[object], columns: int = 80, rows: int = 50, cwd: Path = ROOT, timeout: float = 240, **environment: str
) -> Shown:
    """Runs the command with stdin, stdout and stderr on one terminal."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        list(map(str, command)),
        stdin=side,
        stdout=side,
        stderr=side,
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(side)
    try:
        raw = _everything(main)
        return Shown(raw, process.wait(timeout), columns)
    finally:
        os.close(main)
        if process.poll() is None:
            process.kill()
            process.wait()


def _everything(terminal: int) -> bytes:
    found = bytearray()
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that the other end is closed
                raise
            return bytes(found)
        if not chunk:
            return bytes(found)
        found += chunk
