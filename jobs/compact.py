"""`pipeline compact`: merges small shards of the same split, in one commit.

The rows stay as they are, in the order of the shards. Older versions keep their files until vacuum, so whoever reads the
table at the time is not disturbed, and an unfinished training goes on (see `training.data`).
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from jobs.runtime import Run, commit_record, committing, recorded_run
from jobs.workplace import table_locked
from pipeline.config.compact import CompactConfig
from pipeline.datapipes.cut_shards import SHARD_ROWS, SHARD_TOKENS
from pipeline.errors import InputNotFoundError, PipelineError
from pipeline.lake import table as token_table
from pipeline.lake.atomic import make_folder
from pipeline.lake.paths import Lake
from pipeline.lake.publish import change_of, publish
from pipeline.lake.shard_writer import rows_written, write_shard
from pipeline.lake.shards import Shard, open_shard
from pipeline.lake.table import TokenTable
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.signals import raise_if_swallowed
from schemas.run import Receipt

log = logging.getLogger(__name__)


def run(config: CompactConfig) -> Receipt:
    """Merges small shards; ends with 99 when there are too few.

    Raises:
        InputNotFoundError: no table.
        DataError: a shard is damaged.
        LockedError: another run changes the table.
    """
    lake = Lake(config.lake)
    with recorded_run("compact", lake, config, record=not config.dry_run) as this:
        if not token_table.exists(lake.tokens):
            lake.check_there()
            raise InputNotFoundError(f"no token table in {lake.tokens}. Create one with 'pipeline ingest'.")
        if config.dry_run:
            _compact(config, lake, this, None)
        else:
            with table_locked(lake, this.run_id, f"the token table of {lake.root}") as scratch:
                _compact(config, lake, this, scratch)
    return this.receipt()


def _compact(config: CompactConfig, lake: Lake, this: Run, scratch: Path | None) -> None:
    table = TokenTable.open(lake.tokens)
    groups = list(small_groups(table.shards))
    if sum(map(len, groups)) < config.min_shards:
        groups = []
    merged = [shard for group in groups for shard in group]
    this.nothing_new = not groups
    this.metrics = {
        "dry_run": config.dry_run,
        "merged": len(merged),
        "into": len(groups),
        "rows": sum(shard.rows for shard in merged),
        "shards": len(table.shards) - len(merged) + len(groups),
    }
    this.outputs |= {"tokens": lake.tokens, "table_version": table.version}
    if not groups or scratch is None:
        return
    folder = make_folder(scratch / "shards")
    written = [_merge(group, folder) for group in groups]
    change = change_of(table, written, [shard.path.name for shard in merged])
    vocabulary = read_vocabulary(lake.vocabulary / f"{table.vocabulary}.parquet", table.vocabulary)
    with committing(this):
        record = commit_record(this)
        version = publish(lake, table, vocabulary, change, this.run_id, record, data_change=False)
        this.outputs["table_version"] = version


def small_groups(shards: Sequence[Shard]) -> Iterator[list[Shard]]:
    """Shards to merge, in order: those of one split that are less than half full, as many as fit into a full one.

    What is merged is more than half full, except the last group of a split, so nothing is merged twice for nothing. Shards
    of earlier releases, whose tokens nobody has counted, stay.
    """
    for split in sorted({shard.split for shard in shards}):
        group: list[Shard] = []
        rows = tokens = 0
        for shard in shards:
            if shard.split != split or shard.tokens is None or not is_small(shard):
                continue
            if rows + shard.rows > SHARD_ROWS or tokens + shard.tokens.tokens > SHARD_TOKENS:
                yield group
                group, rows, tokens = [], 0, 0
            group.append(shard)
            rows, tokens = rows + shard.rows, tokens + shard.tokens.tokens
        if len(group) > 1:
            yield group


def is_small(shard: Shard) -> bool:
    """Whether two of its size fit into a full shard."""
    return shard.tokens is not None and 2 * shard.rows < SHARD_ROWS and 2 * shard.tokens.tokens < SHARD_TOKENS


def _merge(group: Sequence[Shard], folder: Path) -> Path:
    """Writes the rows of the shards into one.

    Raises:
        PipelineError: it does not hold as many rows.
    """
    raise_if_swallowed()
    parts = []
    for shard in group:
        with open_shard(shard.path) as file:
            parts.append(file.read())
    path = write_shard(folder, group[0].split, pa.concat_tables(parts, promote_options="default"), group[0].vocabulary)
    expected, found = sum(shard.rows for shard in group), rows_written(path)
    if found != expected:
        raise PipelineError(f"{expected:,} rows were to be merged, but the new shard holds {found:,}. Please report this.")
    return path
