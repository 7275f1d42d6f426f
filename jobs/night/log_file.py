"""The log of a night: a file of its own in `logs/`, into which the steps write, too. Old ones go."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from pipeline.lake.atomic import make_folder, writing
from pipeline.lake.paths import Lake

NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z\.log")


@contextmanager
def night_log(lake: Lake, run_id: str, formatter: logging.Formatter) -> Iterator[Path]:
    """The log file of a night; for the block, log records of this process go there, too.

    Raises:
        CannotWriteError: it cannot be made.
    """
    make_folder(lake.logs)
    path = log_of(lake, run_id)
    with writing(path):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    stream = os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")
    handler = _Unfailing(stream)
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)
    try:
        yield path
    finally:
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):  # a full disk: what the buffer holds is lost, but not how the night ended
            stream.close()


class _Unfailing(logging.StreamHandler[TextIO]):
    """Drops what it cannot write. The default prints a traceback on stderr, which is mailed."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Says nothing: a step that cannot write says so itself."""


def log_of(lake: Lake, run_id: str) -> Path:
    """The log file of a night."""
    return lake.logs / f"{run_id.partition('-')[0]}.log"


def remove_old_logs(lake: Lake, keep: int, own: Path) -> list[str]:
    """Removes all logs of nights but the newest `keep` and this night's `own`; gives the names of those that went.

    Names sort by time, but a clock that was ahead has left names that sort after tonight's.
    """
    gone = []
    names = sorted(path.name for path in lake.logs.iterdir() if NAME.fullmatch(path.name))
    for name in (name for name in names[:-keep] if name != own.name):
        with suppress(OSError):
            (lake.logs / name).unlink()
            gone.append(name)
    return gone
