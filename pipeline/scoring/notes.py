"""What made an output that has no room for metadata (CSV, JSON lines): a note in the lake, found by the output's path.

A note holds for a content, not for a time: an output that somebody changed, or that another lake wrote, has none.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import DataError, UsageError
from pipeline.lake.atomic import write_text
from pipeline.progress import AS_IT_IS
from pipeline.scoring.outputs import is_same

log = logging.getLogger(__name__)

FOLDER = ".notes"


def write_note(predictions: Path, output: Path, written: Path, metadata: Mapping[bytes, bytes], rows: int) -> None:
    """Records how `written`, which is about to become `output`, was made; the note of the current file is valid until then.

    Raises:
        CannotWriteError: the lake cannot be written.
    """
    before = _digest(output) if output.exists() else None
    note = {
        "output": str(output),
        "sha256": _digest(written),
        "before": before if _read(predictions, output) else None,
        "rows": rows,
        "metadata": {key.decode(): value.decode() for key, value in metadata.items()},
    }
    write_text(_path(predictions, output), json.dumps(note, ensure_ascii=False, indent=2) + "\n")


def rows_noted(predictions: Path, output: Path, metadata: Mapping[bytes, bytes], named: bool) -> int | None:
    """The number of rows of an existing output made as a run with `metadata` would make it; None otherwise.

    Raises:
        UsageError: what is there was not written by 'pipeline score', or holds the predictions of an input of the same
            name elsewhere.
        DataError: it was, but is damaged, or was changed since.
    """
    if not output.exists():
        return None
    note = _read(predictions, output)
    digest = _digest(output)
    if note is None and named:
        raise UsageError(
            f"{output} already exists and was not written by 'pipeline score' from this lake. "
            "Choose another --output, or use --force."
        )
    if note is None or digest not in (note["sha256"], note["before"]):
        if not named:  # the lake's own folder holds nothing but predictions
            text = "%s is not what 'pipeline score' wrote: it is damaged, or was changed. Rewriting it."
            log.warning(text, output, extra=AS_IT_IS)
            return None
        raise DataError(
            f"{output} is not what 'pipeline score' wrote: it is damaged, or was changed. Score it again with --force, "
            "to overwrite it, or choose another --output."
        )
    found = {key.encode(): value.encode() for key, value in note["metadata"].items()}
    if not is_same(output, found, metadata, named) or digest != note["sha256"]:
        return None
    return int(note["rows"])


def _path(predictions: Path, output: Path) -> Path:
    return predictions / FOLDER / f"{hashlib.sha256(str(output).encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.json"


def _read(predictions: Path, output: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(_path(predictions, output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = {"sha256", "before", "rows", "metadata"}
    return note if isinstance(note, dict) and wanted <= note.keys() else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
