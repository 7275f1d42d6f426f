"""What stderr shows while a command runs: timestamped log lines in files, plain sentences on a terminal."""

import logging
import sys
from dataclasses import dataclass
from typing import Any, TextIO

import typer

from pipeline.errors import UsageError, unknown_choice
from pipeline.printable import JsonFormatter, PrintableFormatter, json_line
from pipeline.progress import UNATTENDED

OWN_LOGGERS = ("pipeline", "jobs")
TEXT, JSON = "text", "json"
LOG_FORMATS = (TEXT, JSON)


@dataclass(frozen=True)
class Session:
    """The options given before the command."""

    lake: str | None = None
    quiet: bool = False
    verbose: bool = False
    log_format: str = TEXT

    @classmethod
    def of(cls, context: typer.Context) -> "Session":
        """The session of a command; the default during shell completion, when no callback runs."""
        return context.obj if isinstance(context.obj, cls) else cls()

    @property
    def arguments(self) -> list[str]:
        """The same as options, for workers."""
        flags = [f"--{name}" for name in ("quiet", "verbose") if getattr(self, name)]
        return [*flags, *(["--log-format", self.log_format] if self.log_format != TEXT else [])]


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


def set_up(session: Session) -> None:
    """Shows only warnings and errors, or also debug messages; as text, or as lines of JSON.

    Raises:
        UsageError: an unknown format, or both levels were asked for.
    """
    if session.log_format not in LOG_FORMATS:
        raise unknown_choice("--log-format", session.log_format, LOG_FORMATS)
    if session.quiet and session.verbose:
        raise UsageError("--quiet and --verbose contradict each other. Pass only one of them.")
    root = logging.getLogger()
    root.setLevel(logging.WARNING if session.quiet else logging.INFO)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG if session.verbose else logging.NOTSET)
    if session.verbose or session.log_format == JSON:
        for handler in _handlers():
            handler.setFormatter(log_formatter(session.log_format))
            handler.removeFilter(_for_people)


def silence() -> None:
    """From now on no log record goes to stderr; other handlers get them as before."""
    for handler in _handlers():
        handler.setLevel(logging.CRITICAL + 1)


def as_log_line(message: str, level: str = "error") -> str | None:
    """A message as a line of a JSON log; None where stderr is for people."""
    if any(isinstance(handler.formatter, JsonFormatter) for handler in _handlers()):
        return json_line(level, message)
    return None


def log_formatter(log_format: str) -> logging.Formatter:
    """The format of the lines of a log."""
    return JsonFormatter() if log_format == JSON else _lines()


def _handlers() -> list[_Handler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _Handler)]


def _lines() -> logging.Formatter:
    return PrintableFormatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")


def _for_people(record: logging.LogRecord) -> Any:
    return not hasattr(record, UNATTENDED)
