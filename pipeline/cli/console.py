"""What stderr shows while a command runs: timestamped log lines in files, plain sentences on a terminal."""

import logging
import sys
from dataclasses import dataclass
from typing import Any, TextIO

import typer

from pipeline.errors import UsageError
from pipeline.printable import PrintableFormatter
from pipeline.progress import UNATTENDED

OWN_LOGGERS = ("pipeline", "jobs")


@dataclass(frozen=True)
class Session:
    """The options given before the command."""

    lake: str | None = None
    quiet: bool = False
    verbose: bool = False

    @classmethod
    def of(cls, context: typer.Context) -> "Session":
        """The session of a command; the default during shell completion, when no callback runs."""
        return context.obj if isinstance(context.obj, cls) else cls()

    @property
    def arguments(self) -> list[str]:
        """The same as options, for workers."""
        return [f"--{name}" for name in ("quiet", "verbose") if getattr(self, name)]


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to the current stderr, so that lines appear above a progress bar, which replaces it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        raise AttributeError("this handler follows sys.stderr")


class _Sentences(PrintableFormatter):
    """Only the message, with a prefix for warnings."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        text = super().format(record)
        return f"{typer.style('warning:', fg='yellow', bold=True)} {text}" if record.levelno >= logging.WARNING else text


def start_logging() -> None:
    """Sends log records to stderr; `set_level` can change the level."""
    handler = _Handler()
    if sys.stderr.isatty():
        handler.setFormatter(_Sentences("%(message)s"))
        handler.addFilter(_for_people)
    else:
        handler.setFormatter(_lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def set_level(session: Session) -> None:
    """Shows only warnings and errors, or also debug messages.

    Raises:
        UsageError: both were asked for.
    """
    if session.quiet and session.verbose:
        raise UsageError("--quiet and --verbose contradict each other. Pass only one of them.")
    root = logging.getLogger()
    root.setLevel(logging.WARNING if session.quiet else logging.INFO)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG if session.verbose else logging.NOTSET)
    if session.verbose:
        for handler in root.handlers:
            if isinstance(handler, _Handler):
                handler.setFormatter(_lines())
                handler.removeFilter(_for_people)


def _lines() -> logging.Formatter:
    return PrintableFormatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")


def _for_people(record: logging.LogRecord) -> Any:
    return not hasattr(record, UNATTENDED)
