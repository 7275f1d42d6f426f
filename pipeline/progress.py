"""Progress of long work: a bar on a terminal, a sober log line now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pipeline.printable import printable

log = logging.getLogger(__name__)

LOG_EVERY_SECONDS = 15.0
UNATTENDED = "unattended"
"""Attribute of log records for logs alone: a person at a terminal sees a bar and a summary instead."""
BRIEF = "brief"
"""Attribute of a warning that may be mailed: the same in words that quote nothing of the input but names of files. True if
the message is such already, "" if the receipt's figures say it."""
ONCE = "once"
"""Attribute of a warning that is not repeated for the same value of it, whichever process comes upon it."""
AS_IT_IS = {BRIEF: True}
IN_FIGURES = {BRIEF: ""}


class Progress(Protocol):
    """What a loop tells about itself."""

    def advance(self, count: int, **figures: object) -> None:
        """`count` units more are done; `figures` (loss=0.31) are shown beside them."""


@contextmanager
def track(description: str, total: int | None = None, unit: str = "reviews") -> Iterator[Progress]:
    """Shows how far `description` has come, on stderr; a bar goes when the work is done.

    `total` is in `unit`; None when nobody knows it yet.
    """
    description, unit = printable(description), printable(unit)
    if sys.stderr.isatty():
        with _bar(description, total, unit) as bar:
            yield bar
    else:
        lines = _Lines(description, total, unit)
        yield lines
        lines.finish()


@contextmanager
def working(description: str) -> Iterator[None]:
    """Shows on a terminal that something is at work, and for how long; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(printable(description), total=None)
        yield


class _Lines:
    """Progress as log lines, at most one every `LOG_EVERY_SECONDS`."""

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done = 0
        self.figures = ""
        self.started = self.logged = time.monotonic()

    def advance(self, count: int, **figures: object) -> None:
        self.done += count
        if figures:
            self.figures = _figures(figures)
        now = time.monotonic()
        if now - self.logged >= LOG_EVERY_SECONDS:
            self.logged = now
            self._log("")

    def finish(self) -> None:
        self._log(" done")

    def _log(self, suffix: str) -> None:
        seconds = max(time.monotonic() - self.started, 1e-9)
        of = f" of {self.total:,}" if self.total else ""
        rate = f"{self.done / seconds:,.0f}/s"
        count = f"{self.done:,}{of} {self.unit}"
        log.info("%s: %s, %.1f s, %s%s%s", self.description, count, seconds, rate, self.figures, suffix)


@contextmanager
def _bar(description: str, total: int | None, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total, unit=unit, figures="")

        class Bar:
            def advance(self, count: int, **figures: object) -> None:
                if figures:
                    progress.update(task, advance=count, figures=_figures(figures))
                else:
                    progress.advance(task, count)

        yield Bar()


def _figures(figures: dict[str, object]) -> str:
    return "".join(
        f" {name} {value:.4g}" if isinstance(value, float) else f" {name} {printable(str(value))}"
        for name, value in figures.items()
    )
