"""The log of a night: a file of its own in `logs/`, into which the steps write, too. Old ones go."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as stream:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        logging.getLogger().addHandler(handler)
        try:
            yield path
        finally:
            logging.getLogger().removeHandler(handler)


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
