"""Writes the morning page into the lake."""

from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.lake.atomic import write_text
from pipeline.status.status import PAGE, Status


def write_page(status: Status) -> Path:
    """Replaces `index.html` of the lake in one step, and returns its path.

    Raises:
        CannotWriteError: no permission, no space.
        PipelineError: jinja2 is not installed.
    """
    try:
        from pipeline.status.page import render_page
    except ModuleNotFoundError as missing:
        raise PipelineError(
            f"the page needs {missing.name}, which is not installed. Reinstall the package: "
            "pip install --force-reinstall review-pipeline"
        ) from missing
    target = status.lake.root / PAGE
    write_text(target, render_page(status))
    return target
