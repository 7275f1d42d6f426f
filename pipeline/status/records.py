"""Run records as the status reads them: only those that are needed, by the time and command in their names.

A record may lack anything that its contract does not promise: other commands and earlier releases wrote it. The functions
below read such values and return nothing where there is nothing of the right type.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import EXIT_DONE, EXIT_NOTHING_NEW, DataError
from pipeline.lake.paths import Lake
from pipeline.lake.runs import read_record, reason, record_paths
from schemas.contract import ContractError

Record = Mapping[str, Any]

_NAME = re.compile(r"(?P<day>\d{8})T(?P<time>\d{6})(?:\.\d{3})?Z-(?P<command>[a-z][a-z-]*)-[0-9a-f]+")


class Records:
    """The run records of a lake, newest first. Files with other names are passed over."""

    def __init__(self, lake: Lake, now: datetime) -> None:
        self.unreadable: list[Path] = []
        """Records that were needed and could not be read."""
        found = [(path, match) for path in record_paths(lake, now) if (match := _NAME.fullmatch(path.stem))]
        self._paths = [(path, match["command"]) for path, match in reversed(found)]
        self._read: dict[Path, Record | None] = {}

    def commands(self) -> list[str]:
        """The commands that have records, sorted."""
        return sorted({command for _, command in self._paths})

    def of(self, *commands: str) -> Iterator[Record]:
        """Yields the records of these commands, newest first. Each is read when it is asked for."""
        for path, command in self._paths:
            if command in commands and (record := self._record(path)) is not None:
                yield record

    def _record(self, path: Path) -> Record | None:
        if path not in self._read:
            self._read[path] = self._opened(path)
        return self._read[path]

    def _opened(self, path: Path) -> Record | None:
        try:
            return read_record(path)
        except (DataError, ContractError):
            if path.exists():  # or else vacuum has removed it in this moment
                self.unreadable.append(path)
            return None


def inside(values: Any, *names: str) -> Mapping[str, Any]:
    """The object at `names` within an object; empty where there is none."""
    for name in names:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values if isinstance(values, Mapping) else {}


def metrics(record: Record) -> Mapping[str, Any]:
    """The metrics of a run."""
    return inside(record, "receipt", "metrics")


def outputs(record: Record) -> Mapping[str, Any]:
    """The outputs of a run."""
    return inside(record, "receipt", "outputs")


def figure(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if value - value == 0 else None


def count(holder: Mapping[str, Any], name: str) -> int:
    """A whole number in an object, such as a count of rows; 0 where there is none."""
    return int(figure(holder.get(name)) or 0)


def texts(value: Any) -> list[str]:
    """A string, the strings of a list, or those of an object's values."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, Mapping):
        value = list(value.values())
    return [item for item in value if isinstance(item, str) and item] if isinstance(value, list) else []


def moment(text: Any) -> datetime | None:
    """A time in ISO 8601, in UTC unless it says otherwise; None if it is none."""
    try:
        found = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def when(text: Any) -> str:
    """A time for people: `2026-01-31 04:00 UTC`."""
    found = moment(text)
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if found else "an unknown time"


def went_well(exit_code: Any) -> bool:
    """Whether a command did its work, or had none, by its exit code."""
    return exit_code in (EXIT_DONE, EXIT_NOTHING_NEW)


def worked(record: Record) -> bool:
    """Whether a run did its work, or had none. One that has found drift may end with 65 nevertheless."""
    return record["outcome"] in ("done", "nothing-new")


def why(record: Record) -> str:
    """Why a run failed, in a sentence; where the record has words that quote nothing of the input, in those."""
    brief = record.get("error_brief")
    return first_sentence(brief) if isinstance(brief, str) and brief else reason(record.get("error"))


def first_sentence(text: str) -> str:
    """What happened, without the advice that follows."""
    return text.split(". ")[0].removesuffix(".")
