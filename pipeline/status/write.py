"""Writes the morning page into the lake."""

from pathlib import Path

from pipeline.errors import UsageError
from pipeline.lake.atomic import write_text
from pipeline.status.status import PAGE, Status


def write_page(status: Status) -> Path:
    """Replaces `index.html` of the lake in one step, and returns its path.

    Raises:
        CannotWriteError: no permission, no space.
        UsageError: jinja2 is not installed.
    """
    try:
        from pipeline.status.page import render_page
    except ModuleNotFoundError as missing:
        raise UsageError(
            f"--page needs {missing.name}, which is not installed. Install it with: pip install {missing.name}"
        ) from missing
    target = status.lake.root / PAGE
    write_text(target, render_page(status))
    return target
