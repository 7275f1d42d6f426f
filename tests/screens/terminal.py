"""Runs a command in a pseudo-terminal of a given size, as a person's terminal would."""

import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Shown:
    """What a command sent to its terminal, as bytes and as text without colours, and its exit code."""

    raw: bytes
    code: int

    @property
    def text(self) -> str:
        return _SEQUENCE.sub("", self.raw.decode()).replace("\r\n", "\n")


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
        return Shown(raw, process.wait(timeout))
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
