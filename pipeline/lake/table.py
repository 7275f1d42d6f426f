"""The Delta table `tokens/`: which shards make up which version. The only module that imports deltalake.

Shards are written by us and committed by deltalake: the commit is atomic and put-if-absent, on disk and on object
stores. deltalake syncs nothing to the disk, so this module does: shards before the commit, the log after it.
"""

import errno
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import Schema as DeltaSchema
from deltalake.transaction import AddAction, RemoveAction, Transaction, create_table_with_add_actions

from pipeline.errors import DataError, InputNotFoundError, LockedError
from pipeline.lake.atomic import make_folder, refused, sync_file, sync_folder, writing
from pipeline.lake.shards import Shard, common_vocabulary, read_shard
from schemas.token import TOKEN

APPLICATION = "review-pipeline"
CONFIGURATION = {"delta.dataSkippingNumIndexedCols": "0"}
"""Statistics are ours (split, rows); deltalake must not compute others from the files."""


@dataclass(frozen=True, slots=True)
class TokenTable:
    """One version of the table and its shards, in the order of their paths."""

    folder: Path
    version: int
    shards: tuple[Shard, ...]

    @classmethod
    def open(cls, folder: Path, version: int | None = None) -> "TokenTable":
        """Opens the newest version, or the one asked for; reads every shard's footer.

        Raises:
            InputNotFoundError: no table, or no such version.
            DataError: the log is damaged, or a shard is missing or broken.
        """
        if version is not None and not 0 <= version < 2**63:
            raise InputNotFoundError(f"{folder} has no version {version}; versions count from 0.")
        try:
            table = DeltaTable(str(folder), version=version)
        except TableNotFoundError:
            raise InputNotFoundError(f"no token table in {folder}. Make one with 'pipeline ingest'.") from None
        except DeltaError as error:
            if version is not None and exists(folder):
                newest = DeltaTable(str(folder)).version()
                raise InputNotFoundError(f"{folder} has no readable version {version}; its newest is {newest}.") from error
            raise DataError(f"the log of {folder} cannot be read: {error}. Restore _delta_log from a backup.") from error
        paths = sorted(folder / name for name in _paths(table))
        return cls(folder, table.version(), tuple(read_shard(path) for path in paths))

    @property
    def vocabulary(self) -> str:
        """Fingerprint of the vocabulary of all shards; "" when the table is empty.

        Raises:
            DataError: the shards disagree.
        """
        return common_vocabulary(self.shards, str(self.folder))

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.rows for shard in self.shards)


def exists(folder: Path) -> bool:
    """Whether there is a table in the folder."""
    return bool(DeltaTable.is_deltatable(str(folder)))


def commit(
    folder: Path, *, added: Sequence[Path], removed: Sequence[Path], run_id: str, metadata: dict[str, Any], base: int | None
) -> int:
    """Commits shards that lie in the folder already, as one transaction.

    Args:
        added: new shards; they are synced to the disk first.
        removed: shards of the base version that the new version does not have; their files stay for older versions.
        run_id: a commit that landed but was reported as failed is recognised by it.
        base: the version that the run started from; None when there was no table.

    Returns:
        the new version.

    Raises:
        LockedError: somebody else committed since `base`.
        CannotWriteError: the log cannot be written.
    """
    make_folder(folder)
    with writing(folder):
        for path in added:
            sync_file(path)
        sync_folder(folder)
        try:
            _commit(folder, added, removed, run_id, metadata, base)
        except (CommitFailedError, DeltaError) as error:
            if not _landed(folder, run_id):
                if refused(error) and f"(os error {errno.EEXIST})" not in str(error):
                    raise OSError(str(error)) from error
                raise LockedError(
                    f"the table {folder} changed while this run was at work, or its log could not be written ({error}). "
                    "Nothing was committed; run the same command again."
                ) from error
        version = int(DeltaTable(str(folder)).version())
        log = folder / "_delta_log"
        for entry in log.glob(f"{version:020d}.*"):
            sync_file(entry)
        sync_folder(log)
    return version


def history(folder: Path) -> list[dict[str, Any]]:
    """Commits, newest first, as deltalake tells them."""
    return list(DeltaTable(str(folder)).history())


def vacuum(folder: Path, *, keep_hours: int, dry_run: bool) -> list[str]:
    """Deletes files that no version of the last `keep_hours` needs; returns their names.

    Files that only older versions refer to go too: those versions are no longer readable then.
    """
    table = DeltaTable(str(folder))
    with writing(folder):
        return list(table.vacuum(retention_hours=keep_hours, dry_run=dry_run, enforce_retention_duration=False, full=True))


def _commit(
    folder: Path, added: Sequence[Path], removed: Sequence[Path], run_id: str, metadata: dict[str, Any], base: int | None
) -> None:
    schema = DeltaSchema.from_arrow(TOKEN.schema)
    now = int(time.time() * 1000)
    adds = [_add(folder, path, now) for path in added]
    properties = CommitProperties(
        custom_metadata={"run_id": run_id, **metadata}, app_transactions=[Transaction(APPLICATION, (base or 0) + 1)]
    )
    if base is None:
        create_table_with_add_actions(
            str(folder),
            schema,
            adds,
            mode="error",
            name="tokens",
            description=TOKEN.description,
            configuration=CONFIGURATION,
            commit_properties=properties,
        )
        return
    table = DeltaTable(str(folder))
    if table.version() != base:
        raise CommitFailedError(f"version {table.version()} is there, version {base} was expected")
    sizes = {path: path.stat().st_size for path in removed}
    removes = [
        RemoveAction(path.relative_to(folder).as_posix(), size=sizes[path], deletion_timestamp=now, data_change=True)
        for path in removed
    ]
    table.create_write_transaction([*adds, *removes], "append", schema, commit_properties=properties)


def _add(folder: Path, path: Path, now: int) -> AddAction:
    with pq.ParquetFile(path) as file:
        rows = file.metadata.num_rows
    split = read_shard(path).split
    stats = {"numRecords": rows, "minValues": {"split": split}, "maxValues": {"split": split}, "nullCount": {"split": 0}}
    return AddAction(path.relative_to(folder).as_posix(), path.stat().st_size, {}, now, True, json.dumps(stats))


def _landed(folder: Path, run_id: str) -> bool:
    if not exists(folder):
        return False
    newest = DeltaTable(str(folder)).history(1)
    return bool(newest) and newest[0].get("run_id") == run_id


def _paths(table: DeltaTable) -> list[str]:
    return [unquote(uri.rpartition("/")[2]) for uri in table.file_uris()]
