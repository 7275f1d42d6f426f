"""The job behind `pipeline inspect`: a bounded look at files, guesses for the options, and what ingest would reject."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.config.ingest import DEFAULT_LABEL_COLUMN
from pipeline.config.inspect import InspectConfig
from pipeline.config.reading import DEFAULT_MAX_BAD, check_labels
from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.inspection.columns import Column
from pipeline.inspection.guess import Given, Guess, guess
from pipeline.inspection.rehearse import Rehearsal, rehearse
from pipeline.inspection.sample import Sample, look_at
from pipeline.lake.paths import Lake
from pipeline.printable import short_path, utf8_name
from pipeline.readers.base import FileFault, Reading, Source
from pipeline.readers.bounds import Bounds
from pipeline.readers.labels import LabelMap, SkippedLabels
from pipeline.readers.mirror import Mirror, mirrored
from pipeline.readers.registry import described, format_named
from pipeline.readers.roles import Columns
from pipeline.readers.walk import Found, Walker
from schemas.reject import WELL_FORMED

__all__ = ["FileReport", "InspectConfig", "Inspection", "run"]

log = logging.getLogger(__name__)

MAX_FILES = 20
"""Maximum number of sources to inspect; if there are more, an evenly spread sample."""
MAX_ROWS = 50_000
"""Total number of rows to inspect, but at least `MIN_ROWS` per file, unless fewer are requested."""
MIN_ROWS = 500


@dataclass(kw_only=True)
class FileReport:
    """What there is to say of one source. `rehearsal` None: it could not even be looked at."""

    sample: Sample
    rehearsal: Rehearsal | None = None

    @property
    def fault(self) -> FileFault | None:
        """Why ingest would leave it out."""
        return self.sample.fault or (self.rehearsal.fault if self.rehearsal else None)

    @property
    def whole(self) -> bool:
        """Whether all of its rows were looked at."""
        return self.rehearsal.whole if self.rehearsal else self.sample.whole

    @property
    def name(self) -> str:
        """How the user knows it."""
        return self.sample.source.name


@dataclass(kw_only=True)
class Inspection:
    """What was found.

    Args:
        sources: what was named, or the lake's raw/.
        files: those that were looked at.
        faults: of paths that are not sources.
        total: files and folders there are.
        columns: over all files, in their order.
    """

    sources: tuple[str, ...]
    files: list[FileReport]
    faults: list[FileFault] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    total: int = 0
    columns: list[Column] = field(default_factory=list)
    guess: Guess = field(default_factory=Guess)

    @property
    def all_faults(self) -> list[FileFault]:
        """Every file that cannot be read, and why."""
        return [*self.faults, *(file.fault for file in self.files if file.fault is not None)]

    def counted(self, what: str) -> Counter[str]:
        """`rejects`, `labels` or `splits` over all files."""
        total: Counter[str] = Counter()
        for file in self.files:
            if file.rehearsal is not None and file.fault is None:
                total.update(getattr(file.rehearsal, what))
        return total

    @property
    def classes(self) -> list[str]:
        """The classes that were seen."""
        return sorted(label for label in self.counted("labels") if label)

    @property
    def whole(self) -> bool:
        """Whether every row of every file was looked at."""
        return self.total == len(self.files) and all(file.whole for file in self.files)

    @property
    def rows(self) -> int:
        """Rows that ingest would read of those looked at."""
        return sum(file.rehearsal.read for file in self.files if file.rehearsal is not None and file.fault is None)

    @property
    def nothing_readable(self) -> bool:
        """Whether there are files and none can be read."""
        return bool(self.all_faults) and all(file.fault for file in self.files)

    @property
    def malformed(self) -> int:
        """Malformed rows of those looked at."""
        return sum(count for reason, count in self.counted("rejects").items() if reason not in WELL_FORMED)

    @property
    def commits_nothing(self) -> bool:
        """Whether ingest would commit nothing because of rejected rows."""
        everything = self.rows and self.whole and sum(self.counted("rejects").values()) == self.rows
        return bool(everything) or DEFAULT_MAX_BAD.is_passed(self.malformed, self.rows)

    def check_readable(self) -> None:
        """Raises `DataError` where no file can be read."""
        faults = self.all_faults
        if self.nothing_readable:
            others = f" {len(faults) - 1:,} more are unreadable, too." if len(faults) > 1 else ""
            raise DataError(f"{faults[0].place}: {faults[0].detail}.{others}")

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        chosen = self.guess
        return {
            "files": [_file_json(file) for file in self.files],
            "files_in_all": self.total,
            "faults": [{"file": fault.place, "reason": fault.reason, "detail": fault.detail} for fault in self.all_faults],
            "passed_over": self.passed_over,
            "columns": [
                {
                    "name": column.name,
                    "type": column.kind,
                    "empty": round(column.empty_share, 4),
                    "distinct": len(column.distinct),
                    "example": column.example,
                    "role": chosen.role_of(column.name),
                }
                for column in self.columns
            ],
            "text_column": list(chosen.text),
            "label_column": chosen.label,
            "label_map": chosen.label_map,
            "skip_labels": chosen.skip_labels,
            "target_column": chosen.target,
            "id_column": chosen.id,
            "id_conflict": chosen.id_conflict,
            "group_column": chosen.group,
            "split_column": chosen.split,
            "rows": self.rows,
            "labels": dict(self.counted("labels").most_common()),
            "splits": dict(self.counted("splits").most_common()),
            "rejects": dict(self.counted("rejects").most_common()),
            "notes": chosen.notes,
        }


def run(config: InspectConfig) -> Inspection:
    """Looks at the files; writes nothing.

    Raises:
        PipelineError: a path is not there; see `pipeline.errors`.
    """
    lake = Lake(config.lake)
    sources = config.sources or (str(lake.raw),)
    if not config.sources:
        lake.fetch(lake.raw)
    if not config.sources and not lake.raw.exists():
        raise InputNotFoundError(f"no such folder: {lake.raw}. Pass files or folders, or put reviews into {lake.raw}.")
    with mirrored(sources, None) as mirror:
        return _inspected(config, sources, mirror)


def _inspected(config: InspectConfig, sources: tuple[str, ...], mirror: Mirror) -> Inspection:
    with mirror.listed(sources) as paths:
        found, faults = _find(config, paths, mirror.name_of(_shown))
    inspection = Inspection(
        sources=sources, files=[], faults=faults, passed_over=found.passed_over, total=len(found.sources)
    )
    chosen = [mirror.fetch(source) for source in _spread(mirror.remote(found.sources))]
    rows = min(config.rows, max(MIN_ROWS, MAX_ROWS // max(1, len(chosen))))
    for source in chosen:
        inspection.files.append(FileReport(sample=look_at(source, config.reading, rows)))
    _refuse_headless(config, inspection)
    _guess(config, inspection)
    _rehearse(inspection, rows, config.bounds)
    _warn(inspection)
    return inspection


def _find(config: InspectConfig, sources: Sequence[str], name_of: Callable[[Path], str]) -> tuple[Found, list[FileFault]]:
    """The sources, and the faults of named files whose kind is not read."""
    walker = Walker(name_of=name_of, format=None if config.format is None else format_named(config.format))
    faults: list[FileFault] = []
    try:
        found = walker.find(sources)
    except UsageError:
        good = []
        for item in sources:
            try:
                walker.find([item])
                good.append(item)
            except UsageError as error:
                faults.append(FileFault(item, "unreadable", str(error).removeprefix(f"{item}: ").rstrip(".")))
        found = walker.find(good)
    faults += found.faults
    if not found.sources and not faults:
        raise InputNotFoundError(f"no reviews in {', '.join(sources)}. Supported: {described()}.")
    return found, faults


def _shown(path: Path) -> str:
    """A path as a person would name it."""
    return utf8_name(str(path) if path == Path.cwd() else short_path(path))


def _spread(sources: Sequence[Source]) -> list[Source]:
    if len(sources) <= MAX_FILES:
        return list(sources)
    return [sources[place * (len(sources) - 1) // (MAX_FILES - 1)] for place in range(MAX_FILES)]


def _refuse_headless(config: InspectConfig, inspection: Inspection) -> None:
    """A table without column names is a fault, unless the text column was named."""
    for file in inspection.files:
        sample = file.sample
        if sample.dialect is not None and sample.rows and not sample.dialect.has_header and not config.text_column:
            if sample.repeated:
                detail = (
                    f"its first line has {sample.repeated[0]!r} twice. If it is the header, rename one of them; "
                    "otherwise, add a header row"
                )
            else:
                detail = (
                    "its first line looks like data, not like a header. Add a header row; if it is the header, "
                    "use --text-column"
                )
            sample.fault = FileFault(file.name, "column", detail)


def _guess(config: InspectConfig, inspection: Inspection) -> None:
    """Fills in the columns and what they are taken for."""
    tables = [file.sample.columns for file in inspection.files if file.sample.fault is None and file.sample.columns]
    merged: dict[str, Column] = {}
    for columns in tables:
        for name, column in columns.items():
            if name in merged:
                merged[name].merge(column)
            else:
                merged[name] = replace(
                    column,
                    kinds=set(column.kinds),
                    distinct=set(column.distinct),
                    counts=None if column.counts is None else Counter(column.counts),
                )
    inspection.columns = list(merged.values())
    given = Given(
        text=config.text_column,
        label=config.label_column,
        label_map=None if config.label_map is None else str(config.label_map),
        skip_labels=None if config.skip_labels is None else str(config.skip_labels),
        target=config.target_column,
        id=config.id_column,
        group=config.group_column,
        split=config.split_column,
    )
    if any(column.rows for column in merged.values()):
        inspection.guess = guess(inspection.columns, tables, given)
    elif any(file.sample.fault is None and file.sample.is_table for file in inspection.files):
        inspection.guess.notes.append("The files have no rows to guess from.")


def _rehearse(inspection: Inspection, rows: int, bounds: Bounds) -> None:
    found = inspection.guess
    columns = Columns(
        text=found.text or ("text",),
        label=found.label or DEFAULT_LABEL_COLUMN,
        target=found.target,
        id=found.id,
        group=found.group,
        split=found.split,
        optional_label=found.label is None or found.label_optional,
    )
    label_map = None if found.label_map is None else LabelMap.parse(found.label_map)
    skip_labels = None if found.skip_labels is None else SkippedLabels.parse(found.skip_labels)
    check_labels(label_map, skip_labels)
    for file in inspection.files:
        if file.sample.fault is None and (found.text or not file.sample.is_table):
            reading = Reading(dialect=file.sample.fixed_dialect, bounds=bounds)
            file.rehearsal = rehearse(
                file.sample.source, columns, reading, rows, label_map=label_map, skip_labels=skip_labels
            )


def _warn(inspection: Inspection) -> None:
    """Notes what would stop ingest or training."""
    malformed, notes = inspection.malformed, inspection.guess.notes
    if DEFAULT_MAX_BAD.is_passed(malformed, inspection.rows):
        notes.append(
            f"{malformed:,} of {inspection.rows:,} rows are malformed, and ingest allows {DEFAULT_MAX_BAD}: it would commit "
            "nothing. Fix the rows, or allow more with --max-bad."
        )
    if len(inspection.classes) == 1 and inspection.guess.target is None:
        where = "" if inspection.whole else " in the inspected rows"
        notes.append(f"Only one class found{where}, {inspection.classes[0]!r}; training requires two.")


def _file_json(file: FileReport) -> dict[str, Any]:
    sample, rehearsal = file.sample, file.rehearsal
    dialect = sample.dialect
    return {
        "file": file.name,
        "format": sample.source.format,
        "compression": sample.source.compression,
        "rows": rehearsal.read if rehearsal else sample.rows,
        "whole": file.whole,
        "delimiter": dialect.delimiter if dialect else None,
        "quote": dialect.quote if dialect else None,
        "escape": dialect.escape if dialect else None,
        "encoding": dialect.encoding if dialect else None,
        "rejects": dict(rehearsal.rejects.most_common()) if rehearsal else {},
        "first_rejects": rehearsal.details if rehearsal else {},
        "fault": file.fault.detail if file.fault else None,
    }
