"""Rejects of a run: streamed to a scratch file, published under the digest of their content.

The same bad input gives the same file, so a bad row that stays in place does not create a new file every night.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake.atomic import make_folder, sync_file, sync_folder, writing
from schemas.reject import (
    CHOSEN,
    EXCERPT_CHARACTERS,
    FILE_REASONS,
    REASONS,
    REJECT,
    SHAPE_REASONS,
    WELL_FORMED,
    BadRow,
    num_chosen,
)

FILES = 100
"""Maximum number of files to count rejects of by name."""
VALUES = 100
"""Maximum number of faulty values to count by name."""


@dataclass(slots=True)
class Tally:
    """Rejects of one reason: how many, the first one, and how often each `BadRow.value` is there."""

    first: BadRow
    rows: int = 0
    values: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Reported:
    """The rejects that nobody has chosen by an option: rows by file, in the order of reading, and a digest of all of them.

    Two runs with the same digest rejected the same rows for the same reasons.
    """

    files: dict[str, int] = field(default_factory=dict)
    """The last `FILES` of them, which are the newest deliveries where names have a date."""
    num_files: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    last: str | None = None

    def add(self, bad: BadRow) -> None:
        """Counts a reject."""
        if bad.source != self.last:  # files are read one after another
            self.num_files += bad.source not in self.files
            self.last = bad.source
        self.files[bad.source] = self.files.get(bad.source, 0) + 1
        self.digest.update(f"{bad.source}\0{bad.row}\0{bad.reason}\0{bad.detail}\0".encode("utf-8", "backslashreplace"))
        self._shorten()

    def absorb(self, other: "Reported") -> None:
        """Adds the counts of another part of the run, which came after this one."""
        self.num_files += other.num_files - len(self.files.keys() & other.files.keys())
        for name, rows in other.files.items():
            self.files[name] = self.files.get(name, 0) + rows
        self.digest.update(other.digest.digest())
        self._shorten()

    def copy(self) -> "Reported":
        """A copy that does not change with this one."""
        return replace(self, files=self.files.copy(), digest=self.digest.copy())

    def _shorten(self) -> None:
        while len(self.files) > FILES:
            del self.files[next(iter(self.files))]


class RejectCounts:
    """Counts rejects by reason."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.reported = Reported()

    @property
    def rows(self) -> int:
        """Rows that were rejected; files are not among them."""
        return sum(tally.rows for tally in self.tallies.values())

    @property
    def chosen(self) -> int:
        """Those of them that an option leaves out."""
        return num_chosen(self.by_reason)

    @property
    def metrics(self) -> dict[str, Any]:
        """What a receipt says of them. Files: the last ones with rejects that nobody has chosen."""
        reported = self.reported
        return {
            "rejects": self.by_reason,
            "rejects_digest": reported.digest.hexdigest()[:16] if reported.num_files else None,
            "rejects_files": {
                "total": reported.num_files,
                "listed": [{"file": name, "rows": rows} for name, rows in reported.files.items()],
            },
        }

    @property
    def by_reason(self) -> dict[str, int]:
        """Rejected rows by reason, the most frequent first."""
        return {reason: tally.rows for reason, tally in sorted(self.tallies.items(), key=lambda item: -item[1].rows)}

    @property
    def malformed(self) -> int:
        """Rows whose reason speaks of the state of their file."""
        return sum(tally.rows for reason, tally in self.tallies.items() if reason not in WELL_FORMED)

    @property
    def first(self) -> BadRow | None:
        """The first rejected row that is malformed, or else the first that no option leaves out, or the first at all."""
        kinds = (WELL_FORMED, CHOSEN, frozenset[str]())
        found = (tally.first for less in kinds for reason, tally in self.tallies.items() if reason not in less)
        return next(found, None)

    @property
    def first_described(self) -> str:
        """Place, reason and cause of the first one, without the customer's text."""
        first = self.first
        assert first is not None
        cause = first.detail if first.reason in SHAPE_REASONS else REASONS[first.reason]
        return f"{first.source}, row {first.row}: {first.reason} ({cause})"

    def count(self, bad: Iterable[BadRow]) -> None:
        """Counts rejects; whole files are passed over."""
        for row in bad:
            if row.row >= 0:
                tally = self.tallies.setdefault(row.reason, Tally(row))
                tally.rows += 1
                if row.reason not in CHOSEN:
                    self.reported.add(row)
                if row.value and (row.value in tally.values or len(tally.values) < VALUES):
                    tally.values[row.value] += 1

    def absorb(self, other: "RejectCounts") -> None:
        """Adds the counts of another part of the run, which came after this one."""
        self.reported.absorb(other.reported)
        for reason, theirs in other.tallies.items():
            tally = self.tallies.setdefault(reason, Tally(theirs.first))
            tally.rows += theirs.rows
            for value, count in theirs.values.items():
                if value in tally.values or len(tally.values) < VALUES:
                    tally.values[value] += count


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a `RejectWriter` had written and counted at a moment."""

    written: int
    tallies: dict[str, Tally]
    reported: Reported


class RejectWriter(RejectCounts):
    """Writes rejects to `scratch` as they come, and counts them by reason. Whole files are counted apart."""

    def __init__(self, scratch: Path) -> None:
        super().__init__()
        self.path = scratch
        self.writer: pq.ParquetWriter | None = None
        self._written = 0
        self._dropped: list[tuple[int, int]] = []

    def snapshot(self) -> "Snapshot":
        """What `restore` takes back to."""
        tallies = {reason: replace(tally, values=tally.values.copy()) for reason, tally in self.tallies.items()}
        return Snapshot(self._written, tallies, self.reported.copy())

    def restore(self, snapshot: "Snapshot") -> None:
        """Forgets the rejects since the snapshot; they are left out when the file is published."""
        if self._written > snapshot.written:
            self._dropped.append((snapshot.written, self._written))
        self.tallies, self.reported = snapshot.tallies, snapshot.reported

    def __enter__(self) -> "RejectWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.writer is not None:
            with writing(self.path) if error is None else suppress(OSError):
                self.writer.close()

    def write(self, bad: Iterable[BadRow]) -> None:
        """Appends rejects.

        Raises:
            CannotWriteError: the disk is full, say.
        """
        rows = list(bad)
        if not rows:
            return
        assert all(row.reason in (FILE_REASONS if row.row < 0 else REASONS) for row in rows), {row.reason for row in rows}
        columns = [
            [row.source for row in rows],
            [row.row for row in rows],
            [row.reason for row in rows],
            [row.detail.encode("utf-8", "backslashreplace").decode() for row in rows],
            [row.excerpt.decode("utf-8", "replace")[:EXCERPT_CHARACTERS] for row in rows],
        ]
        schema = REJECT.schema.with_metadata(REJECT.metadata)
        with writing(self.path):
            if self.writer is None:
                self.writer = pq.ParquetWriter(self.path, schema, compression="zstd")
            self.writer.write_table(pa.table(columns, schema=schema))
        self._written += len(rows)
        self.count(rows)

    def publish(self, folder: Path) -> Path | None:
        """Moves the file to `folder` under its digest; None when there were no rejects."""
        if self.writer is None:
            return None
        with writing(self.path):
            self.writer.close()
            self.writer = None
            if self._dropped and not self._leave_out_dropped():
                return None
        target = make_folder(folder) / f"{hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]}.parquet"
        with writing(target):
            sync_file(self.path)
            if target.exists():
                self.path.unlink()
            else:
                self.path.replace(target)
                sync_folder(folder)
        return target

    def _leave_out_dropped(self) -> bool:
        """Writes the file again without the rejects of files that were left out; whether any is left."""
        whole = self.path.with_name(f"whole-{self.path.name}")
        self.path.rename(whole)
        place = kept = 0
        with pq.ParquetFile(whole) as file, pq.ParquetWriter(self.path, file.schema_arrow, compression="zstd") as writer:
            for batch in file.iter_batches():
                rows = np.arange(place, place + len(batch))
                mask = ~np.any([(first <= rows) & (rows < end) for first, end in self._dropped], axis=0)
                if mask.any():
                    writer.write_batch(batch.filter(pa.array(mask)))
                place += len(batch)
                kept += int(mask.sum())
        whole.unlink()
        return kept > 0
