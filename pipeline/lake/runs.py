"""Run records: one JSON file a run, written when it ends, however it ends."""

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.lake.atomic import PREFIX, write_text
from pipeline.lake.documents import read_document
from pipeline.lake.paths import Lake
from schemas.run import RUN, RunRecord

AHEAD = timedelta(minutes=10)
"""How far the clocks of machines that share a lake may differ. A run from later than that had a clock that was ahead."""
_STAMP = re.compile(r"\d{8}T\d{6}")


def new_run_id(command: str) -> str:
    """An id that sorts by time: `20260131T040000.123Z-ingest-1a2b3c`."""
    now = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
    return f"{stamp}.{int(now * 1000) % 1000:03d}Z-{command}-{secrets.token_hex(3)}"


def write_record(lake: Lake, record: RunRecord) -> Path:
    """Writes `runs/<run_id>.json` atomically."""
    path = lake.runs / f"{record.run_id}.json"
    write_text(path, record.to_json())
    return path


def wrote(lake: Lake, output: Path) -> bool:
    """Whether a run of this lake wrote the prediction file `output`."""
    for path in lake.runs.glob("*-score-*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            record = json.loads(path.read_bytes())
            place = record["receipt"]["outputs"].get("predictions")
            if (
                record["outcome"] == "done" and place and output.is_relative_to(lake.local(place))
            ):  # a file, or the folder of many
                return True
    return False


def read_records(lake: Lake) -> Iterator[dict[str, Any]]:
    """Yields every run record of the lake, oldest first.

    Raises:
        DataError: a record cannot be read, lacks something or is of a newer version.
    """
    for path in record_paths(lake):
        try:
            yield read_record(path)
        except DataError:
            if path.exists():  # or else vacuum has removed it in this moment
                raise


def record_paths(lake: Lake, now: datetime | None = None) -> list[Path]:
    """The files of the run records, oldest first.

    Those of a clock that was ahead count as the oldest: otherwise, once the clock is right, they would hide every later run.
    """
    latest = f"{(now or datetime.now(UTC)) + AHEAD:%Y%m%dT%H%M%S}"

    def is_past(path: Path) -> bool:
        stamp = _STAMP.match(path.name)
        return stamp is None or stamp[0] <= latest

    paths = (path for path in lake.runs.glob("*.json") if not path.name.startswith(PREFIX))
    return sorted(paths, key=lambda path: (is_past(path), path))


def read_record(path: Path) -> dict[str, Any]:
    """Reads a run record (contract: `schemas.run.RUN`).

    Raises:
        DataError: it cannot be read, lacks something or is of a newer version.
    """
    return read_document(path, RUN)


def reason(error: str | None) -> str:
    """Why a run failed, in one sentence: its error without class name and advice."""
    if not error:
        return ""
    kind, separator, message = error.partition(": ")
    return (message if separator and kind.isidentifier() else error).split(". ")[0].removesuffix(".")


def age(record: Mapping[str, Any], now: datetime | None = None) -> timedelta:
    """How long ago a run ended; not at all where its time cannot be read."""
    try:
        return (now or datetime.now(UTC)) - datetime.fromisoformat(record["finished"])
    except (ValueError, TypeError):
        return timedelta(0)


def remembered(record: Mapping[str, Any]) -> timedelta:
    """How long a failure is worth a warning.

    A mistyped name, a file that is not there and Ctrl-C are a person's affair of the day; a schedule that fails so fails
    again every night.
    """
    passing = record["outcome"] == "stopped" or record["exit_code"] in (UsageError.exit_code, InputNotFoundError.exit_code)
    return timedelta(days=1 if passing else 30)
