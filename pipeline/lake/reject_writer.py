"""Rejects of a run: streamed to a scratch file, published under the digest of their content.

The same bad input gives the same file, so that a bad row that lies around is not rejected anew every night.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake.atomic import make_folder, sync_file, sync_folder, writing
from schemas.reject import EXCERPT_CHARACTERS, REASONS, REJECT, BadRow


class RejectWriter:
    """Writes rejects to `scratch` as they come. `rows` counts them."""

    def __init__(self, scratch: Path) -> None:
        self.path = scratch
        self.rows = 0
        self.first: BadRow | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "RejectWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            with writing(self.path) if error is None else suppress(OSError):
                self._writer.close()

    def write(self, bad: Iterable[BadRow]) -> None:
        """Appends rejects.

        Raises:
            CannotWriteError: the disk is full, say.
        """
        rows = list(bad)
        if not rows:
            return
        assert all(row.reason in REASONS for row in rows), {row.reason for row in rows}
        columns = [
            [row.source for row in rows],
            [row.row for row in rows],
            [row.reason for row in rows],
            [row.detail.encode("utf-8", "backslashreplace").decode() for row in rows],
            [row.excerpt.decode("utf-8", "replace")[:EXCERPT_CHARACTERS] for row in rows],
        ]
        schema = REJECT.schema.with_metadata(REJECT.metadata)
        with writing(self.path):
            if self._writer is None:
                self._writer = pq.ParquetWriter(self.path, schema, compression="zstd")
            self._writer.write_table(pa.table(columns, schema=schema))
        self.first = self.first or rows[0]
        self.rows += len(rows)

    def publish(self, folder: Path) -> Path | None:
        """Moves the file to `folder` under its digest; None when there were no rejects."""
        if self._writer is None:
            return None
        with writing(self.path):
            self._writer.close()
        self._writer = None
        target = make_folder(folder) / f"{hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]}.parquet"
        with writing(target):
            sync_file(self.path)
            if target.exists():
                self.path.unlink()
            else:
                self.path.replace(target)
                sync_folder(folder)
        return target
