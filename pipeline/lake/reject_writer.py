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

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake.atomic import make_folder, sync_file, sync_folder, writing
from schemas.reject import EXCERPT_CHARACTERS, FILE_REASONS, REASONS, REJECT, SHAPE_REASONS, WELL_FORMED, BadRow

VALUES = 100
"""Maximum number of faulty values to count by name."""


@dataclass(slots=True)
class Tally:
    """Rejects of one reason: how many, the first one, and how often each `BadRow.value` is there."""

    first: BadRow
    rows: int = 0
    values: Counter[str] = field(default_factory=Counter)


class RejectCounts:
    """Counts rejects by reason."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}

    @property
    def rows(self) -> int:
        """Rows that were rejected; files are not among them."""
        return sum(tally.rows for tally in self.tallies.values())

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
        """The first rejected row that is malformed, or else the first at all."""
        malformed = [tally.first for reason, tally in self.tallies.items() if reason not in WELL_FORMED]
        return next(iter(malformed or [tally.first for tally in self.tallies.values()]), None)

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
                if row.value and (row.value in tally.values or len(tally.values) < VALUES):
                    tally.values[row.value] += 1

    def absorb(self, other: "RejectCounts") -> None:
        """Adds the counts of another part of the run, which came after this one."""
        for reason, theirs in other.tallies.items():
            tally = self.tallies.setdefault(reason, Tally(theirs.first))
            tally.rows += theirs.rows
            for value, count in theirs.values.items():
                if value in tally.values or len(tally.values) < VALUES:
                    tally.values[value] += count


class RejectWriter(RejectCounts):
    """Writes rejects to `scratch` as they come, and counts them by reason. Whole files are counted apart."""

    def __init__(self, scratch: Path) -> None:
        super().__init__()
        self.path = scratch
        self.writer: pq.ParquetWriter | None = None
        self._written = 0
        self._dropped: list[tuple[int, int]] = []

    def snapshot(self) -> tuple[int, dict[str, Tally]]:
        """What `restore` takes back to."""
        return self._written, {reason: replace(tally, values=tally.values.copy()) for reason, tally in self.tallies.items()}

    def restore(self, snapshot: tuple[int, dict[str, Tally]]) -> None:
        """Forgets the rejects since the snapshot; they are left out when the file is published."""
        if self._written > snapshot[0]:
            self._dropped.append((snapshot[0], self._written))
        self.tallies = snapshot[1]

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
