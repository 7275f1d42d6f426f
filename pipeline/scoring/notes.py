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
from pipeline.printable import shown
from pipeline.progress import AS_IT_IS
from pipeline.scoring.outputs import Naming, Scored, is_same
from schemas.prediction import KEY_MODEL

log = logging.getLogger(__name__)

FOLDER = ".notes"


def write_note(predictions: Path, output: Path, written: Path, metadata: Mapping[bytes, bytes], rows: int) -> None:
    """Records how `written`, which is about to become `output`, was made; the note of the current file is valid until then.

    Raises:
        CannotWriteError: the lake cannot be written.
    """
    before = _digest(output) if output.exists() else None
    note = {
        "output": shown(str(output)),
        "sha256": _digest(written),
        "before": before if _read(predictions, output) else None,
        "rows": rows,
        "metadata": {key.decode(): value.decode() for key, value in metadata.items()},
    }
    write_text(_path(predictions, output), json.dumps(note, ensure_ascii=False, indent=2) + "\n")


def scored_noted(predictions: Path, output: Path, metadata: Mapping[bytes, bytes], naming: Naming) -> Scored | None:
    """What an existing output holds that was made as a run with `metadata` would make it; None otherwise.

    Raises:
        UsageError: what is there was not written by 'pipeline score', or holds the predictions of an input of the same
            name elsewhere.
        DataError: it was, but is damaged, or was changed since.
    """
    if not output.exists():
        return None
    note = _read(predictions, output)
    digest = _digest(output)
    if note is None and not naming.in_lake:
        raise UsageError(
            f"{output} already exists and was not written by 'pipeline score' from this lake. "
            "Choose another --output, or use --force."
        )
    if note is None or digest not in (note["sha256"], note["before"]):
        if naming.in_lake:
            text = "%s is not what 'pipeline score' wrote: it is damaged, or was changed. Rewriting it."
            log.warning(text, output, extra=AS_IT_IS)
            return None
        raise DataError(
            f"{output} is not what 'pipeline score' wrote: it is damaged, or was changed. Score it again with --force, "
            "to overwrite it, or choose another --output."
        )
    found = {key.encode(): value.encode() for key, value in note["metadata"].items()}
    if not is_same(output, found, metadata, naming) or digest != note["sha256"]:
        return None
    return Scored(rows=int(note["rows"]), model_id=found[KEY_MODEL].decode())


def current_note(predictions: Path, output: Path) -> dict[str, Any] | None:
    """The note of an output, if it is the output's content that the note holds for."""
    note = _read(predictions, output)
    return note if note is not None and _digest(output) in (note["sha256"], note["before"]) else None


def noted_outputs(predictions: Path) -> list[str]:
    """The outputs that have a note, paths and URIs."""
    found = []
    for path in sorted((predictions / FOLDER).glob("*.json")):
        try:
            found.append(str(json.loads(path.read_text(encoding="utf-8"))["output"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _path(predictions: Path, output: Path) -> Path:
    return (
        predictions
        / FOLDER
        / f"{hashlib.sha256(shown(str(output)).encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.json"
    )


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
