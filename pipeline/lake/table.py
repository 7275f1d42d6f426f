"""The Delta table `tokens/`: which shards make up which version. The only module that imports deltalake.

Shards are written by us and committed by deltalake, put-if-absent. deltalake syncs nothing to the disk, so this module
does, in the order that a power cut at any moment leaves harmless:

1. every shard's content, then the folder that names the shards;
2. the log entry's content, in a staging folder where no reader looks;
3. the entry's name in `_delta_log/`, by a hard link, which fails when another run took the version;
4. the folder `_delta_log/`. Only now the run has committed.

In the working copy of a lake on a store, the store gets shards and entry between 2 and 3: its entry is the commit.

An entry that was torn nevertheless (an earlier release wrote the name first) counts as absent: see `lake.log`.
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import Schema as DeltaSchema
from deltalake.transaction import AddAction, RemoveAction, Transaction, create_table_with_add_actions

from pipeline.errors import DataError, InputNotFoundError, LockedError
from pipeline.lake import log as delta_log
from pipeline.lake.atomic import PREFIX, claimed, make_folder, sync_file, sync_folder, writing
from pipeline.lake.damage import REPAIR
from pipeline.lake.log import LOG, Entry
from pipeline.lake.noted import Identity, NotedShard, identity_of
from pipeline.lake.paths import Lake
from pipeline.lake.shards import Shard, common_vocabulary, read_shard
from schemas.token import TARGET, TOKEN, WITHOUT_TARGET

APPLICATION = "review-pipeline"
CONFIGURATION = {"delta.dataSkippingNumIndexedCols": "0"}
"""Statistics are ours (split, rows); deltalake must not compute others from the files."""

UNKNOWN = -1
"""Rows of a shard whose commit did not note them."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A shard as the log lists it."""

    name: str
    size: int
    rows: int


@dataclass(frozen=True, slots=True)
class TokenTable:
    """One version of the table and its shards, in the order of their paths."""

    folder: Path
    version: int
    shards: tuple[Shard, ...]

    @classmethod
    def open(
        cls,
        folder: Path,
        version: int | None = None,
        *,
        without: Sequence[str] = (),
        noted: Iterable[NotedShard] = (),
    ) -> "TokenTable":
        """Opens the newest version, or the one asked for; reads every shard's footer and compares it with the log.

        Args:
            without: names of shards that are passed over, because they are damaged and about to be replaced.
            noted: shards whose footers are not read again if the files still have the same size and time.

        Raises:
            InputNotFoundError: no table, no such version, or a shard that is not there.
            DataError: the log is damaged, or a shard is not the one that was committed.
        """
        version, listed = list_shards(folder, version)
        if (origin := Lake(folder.parent).origin) is not None:
            origin.fetch_shards(entry.name for entry in listed if entry.name not in without)
        known = {shard.identity: shard for shard in noted}
        shards = [check_listed(folder, entry, noted=known) for entry in listed if entry.name not in without]
        return cls(folder, version, tuple(shards))

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
    return delta_log.newest(folder) is not None


def has_targets(folder: Path) -> bool:
    """Whether a table that exists has a column with numbers for regression.

    Raises:
        DataError: the log is damaged.
    """
    try:
        with _spoken(folder) as root:
            return any(field.name == TARGET for field in DeltaTable(root).schema().fields)
    except (DeltaError, OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"the log of {folder} cannot be read: {error}. {REPAIR}") from error


def list_shards(folder: Path, version: int | None = None) -> tuple[int, list[Listed]]:
    """The version that was found and its shards as the log lists them, sorted by name; no shard is opened.

    Raises:
        InputNotFoundError: no table, or no such version.
        DataError: the log is damaged.
    """
    if version is not None and not 0 <= version < 2**63:
        raise InputNotFoundError(f"{folder} has no version {version}; versions count from 0.")
    newest = delta_log.newest(folder)
    if newest is None:
        if folder == (lake := Lake(folder.parent)).tokens:
            lake.check_there()
        raise InputNotFoundError(f"no token table in {folder}. Make one with 'pipeline ingest'.")
    wanted = newest.version if version is None else version
    if wanted > newest.version:
        raise InputNotFoundError(f"{folder} has no readable version {version}; its newest is {newest.version}.")
    try:
        with _spoken(folder) as root:
            table = DeltaTable(root, version=wanted)
            listed = _listed(table)
    except TableNotFoundError:
        raise InputNotFoundError(f"no token table in {folder}. Make one with 'pipeline ingest'.") from None
    except (DeltaError, OSError, ValueError, KeyError, pa.ArrowException) as error:
        if version is not None and version < newest.version:
            raise InputNotFoundError(
                f"{folder} has no readable version {version}; its newest is {newest.version}."
            ) from error
        raise DataError(f"the log of {folder} cannot be read: {error}. {REPAIR}") from error
    entry = newest if wanted == newest.version else delta_log.read_entry(folder, wanted)
    if entry is not None and entry.listing_sha256 not in ("", delta_log.listing_sha256(listed)):
        raise DataError(f"the log of {folder} has changed: version {wanted} lists different shards than before. {REPAIR}")
    return wanted, listed


def check_listed(
    folder: Path, entry: Listed, *, whole_if_old: bool = True, noted: Mapping[Identity, NotedShard] | None = None
) -> Shard:
    """Reads the footer of a shard, unless it is `noted`, and compares the file with its entry in the log.

    Raises:
        InputNotFoundError: it is not there.
        DataError: it is not the one that was committed.
    """
    path = folder / entry.name
    if not path.exists() and (origin := Lake(folder.parent).origin) is not None:
        origin.fetch_shards([entry.name])
    same = noted.get(identity_of(path)) if noted else None
    shard = same.shard if same else read_shard(path, whole_if_old=whole_if_old)
    size = path.stat().st_size
    if size != entry.size or entry.rows not in (shard.rows, UNKNOWN):
        raise DataError(
            f"the token shard {path} has {size:,} bytes and {shard.rows:,} rows, but {entry.size:,} bytes and "
            f"{entry.rows:,} rows were committed. {REPAIR}"
        )
    return shard


def commit(
    folder: Path,
    *,
    added: Sequence[Path],
    removed: Sequence[Path],
    run_id: str,
    metadata: Mapping[str, Any],
    base: int | None,
    data_change: bool = True,
) -> int:
    """Commits shards that are already in the folder, as one transaction. The caller holds the table's lock.

    Args:
        added: new shards; they are synced to the disk first.
        removed: shards of the base version that the new version does not have; their files stay for older versions.
        run_id: the run, by which the commit is found again.
        base: the version that the run started from; None when there was no table.
        data_change: whether the rows change, as the Delta protocol asks.

    Returns:
        the new version.

    Raises:
        LockedError: somebody else committed since `base`.
        CannotWriteError: the log cannot be written.
    """
    make_folder(folder / LOG)
    with writing(folder):
        for path in added:
            sync_file(path)
        sync_folder(folder)
        delta_log.remove_torn(folder)
        sweep_staging(folder)
        before = delta_log.newest(folder)
        if (before.version if before else None) != base:
            raise _changed(folder)
        stage = folder / f"{PREFIX}commit-{secrets.token_hex(4)}"
        try:
            with claimed(stage, make_folder):
                present = _copy_log(folder, stage)
                try:
                    version = stage_commit(folder, stage, added, removed, run_id, metadata, base, data_change)
                except CommitFailedError as error:
                    raise _changed(folder) from error
                entry = stage / LOG / delta_log.entry_name(version)
                sync_file(entry)
                if (origin := Lake(folder.parent).origin) is not None:
                    origin.commit(added, entry)
                _publish(folder, stage, version, present)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    return version


def sweep_staging(folder: Path) -> None:
    """Removes what killed commits have left: staging folders, and deltalake's half-written entries of earlier releases.

    The caller holds the table's lock.
    """
    for place in folder.glob(f"{PREFIX}commit-*"):
        shutil.rmtree(place, ignore_errors=True)
    delta_log.remove_half_written(folder)


def vacuum(folder: Path, *, keep_hours: int, dry_run: bool) -> list[str]:
    """Deletes files that no version of the last `keep_hours` needs; returns their names.

    Files used only by older versions are removed too: those versions can no longer be read.
    """
    if (origin := Lake(folder.parent).origin) is not None:
        origin.fetch_old_shards({entry.name for entry in list_shards(folder)[1]})
    with writing(folder), _spoken(folder) as root:
        for path in folder.iterdir():
            if Path(root) != folder and path.name != LOG:
                (Path(root) / path.name).symlink_to(path)
        table = DeltaTable(root)
        listed = table.vacuum(retention_hours=keep_hours, dry_run=True, enforce_retention_duration=False, full=True)
        # The log remembers files that are long gone, and vacuum would commit for them again each time.
        deleted = [name for name in listed if (folder / unquote(name)).exists()]
        if deleted and not dry_run:
            table.vacuum(retention_hours=keep_hours, dry_run=False, enforce_retention_duration=False, full=True)
            if Path(root) != folder:
                for name in deleted:
                    (folder / unquote(name)).unlink(missing_ok=True)
            if origin is not None:
                origin.commit_entries()
        return deleted


def _changed(folder: Path) -> LockedError:
    return LockedError(f"the table {folder} changed during this run. Nothing was committed; run the same command again.")


@contextmanager
def _spoken(folder: Path) -> Iterator[str]:
    """A path by which deltalake finds the table.

    deltalake reads a path as a URL and decodes it more than once: `my%20lake` becomes `my lake`, a backslash a slash, and
    control characters are refused. Where the name holds such characters, a temporary folder with a link to the log stands
    for it; the log names the shards relative to the table.
    """
    text = str(folder)
    if text.isprintable() and "%" not in text and "\\" not in text:
        yield text
        return
    with TemporaryDirectory(prefix="pipeline-") as alias:
        if (folder / LOG).is_dir():
            (Path(alias) / LOG).symlink_to(folder / LOG, target_is_directory=True)
        yield alias


def _copy_log(folder: Path, stage: Path) -> set[str]:
    """Links the log's files into the staging folder; gives their names."""
    (stage / LOG).mkdir()
    names = set()
    for path in (folder / LOG).iterdir():
        if path.is_file():
            os.link(path, stage / LOG / path.name)
            names.add(path.name)
    return names


def _publish(folder: Path, stage: Path, version: int, present: set[str]) -> None:
    """Renames the staged entry, and moves any checkpoint that deltalake made of it next to it."""
    entry = stage / LOG / delta_log.entry_name(version)
    try:
        os.link(entry, folder / LOG / entry.name)
    except FileExistsError:
        # A network file system may have linked it and lost the answer; a working copy may have fetched it from its store.
        there = folder / LOG / entry.name
        if not entry.samefile(there) and entry.read_bytes() != there.read_bytes():
            raise _changed(folder) from None
    sync_folder(folder / LOG)
    new = [path for path in (stage / LOG).glob("*.checkpoint*.parquet") if path.name not in present]
    pointer = stage / LOG / "_last_checkpoint"
    for path in [*new, *([pointer] if new and pointer.exists() else [])]:
        sync_file(path)
        path.replace(folder / LOG / path.name)


def stage_commit(
    folder: Path,
    stage: Path,
    added: Sequence[Path],
    removed: Sequence[Path],
    run_id: str,
    metadata: Mapping[str, Any],
    base: int | None,
    data_change: bool = True,
) -> int:
    """Commits in the staging folder; gives the new version."""
    schema = _delta_schema(added)
    now = int(time.time() * 1000)
    new = [_describe(path) for path in added]
    with _spoken(stage) as root:
        table = None if base is None else DeltaTable(root)
        gone = {path.name for path in removed}
        before = [] if table is None else _listed(table)
        sizes = {entry.name: entry.size for entry in before}
        # By name: a repaired shard may be, byte for byte, the one that was damaged.
        after = {entry.name: entry for entry in [*before, *new] if entry.name not in gone}
        properties = CommitProperties(
            custom_metadata={"run_id": run_id, **metadata, Entry.LISTING: delta_log.listing_sha256(after.values())},
            app_transactions=[Transaction(APPLICATION, (base or 0) + 1)],
        )
        adds = [_add(path, entry, now, data_change) for path, entry in zip(added, new, strict=True)]
        if table is None:
            create_table_with_add_actions(
                root,
                schema,
                adds,
                mode="error",
                name="tokens",
                description=TOKEN.description,
                configuration=CONFIGURATION,
                commit_properties=properties,
            )
            return 0
        removes = [
            RemoveAction(name, size=sizes.get(name, 0), deletion_timestamp=now, data_change=data_change)
            for name in sorted(gone)
        ]
        table.create_write_transaction([*adds, *removes], "append", schema, commit_properties=properties)
        version = int(table.version()) + 1
        names, present = ({field.name for field in one.fields} for one in (schema, table.schema()))
        if TARGET in names - present:
            _note_schema(stage / LOG / delta_log.entry_name(version), table, schema)
        return version


def _delta_schema(added: Sequence[Path]) -> DeltaSchema:
    """The columns of the shards: those of earlier releases, unless one has numbers."""
    has_targets = any(TARGET in pq.read_schema(path).names for path in added)
    return DeltaSchema.from_arrow(TOKEN.schema if has_targets else WITHOUT_TARGET)


def _note_schema(entry: Path, table: DeltaTable, schema: DeltaSchema) -> None:
    """Adds the table's new schema to a staged entry, which deltalake leaves out when it appends: other readers of the table
    would not see the column."""
    about = table.metadata()
    metadata = {
        "id": str(about.id),
        "name": about.name,
        "description": about.description,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema.to_json(),
        "partitionColumns": list(about.partition_columns),
        "createdTime": about.created_time,
        "configuration": dict(about.configuration),
    }
    lines = entry.read_text(encoding="utf-8").rstrip("\n")
    entry.write_text(f"{lines}\n{json.dumps({'metaData': metadata})}\n", encoding="utf-8")


def _describe(path: Path) -> Listed:
    with pq.ParquetFile(path) as file:
        return Listed(path.name, path.stat().st_size, file.metadata.num_rows)


def _add(path: Path, entry: Listed, now: int, data_change: bool) -> AddAction:
    split = read_shard(path).split
    bounds = {"minValues": {"split": split}, "maxValues": {"split": split}, "nullCount": {"split": 0}}
    return AddAction(entry.name, entry.size, {}, now, data_change, json.dumps({"numRecords": entry.rows, **bounds}))


def _listed(table: DeltaTable) -> list[Listed]:
    actions = pa.table(table.get_add_actions(flatten=True)).select(["path", "size_bytes", "num_records"]).to_pylist()
    found = (
        Listed(
            unquote(row["path"]), int(row["size_bytes"]), UNKNOWN if row["num_records"] is None else int(row["num_records"])
        )
        for row in actions
    )
    return sorted(found, key=lambda entry: entry.name)
