"""Token shards: Parquet files under the token contract. What their footers tell; nothing here needs the Delta log."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake.content import READ_ERRORS, open_parquet, verify_name
from pipeline.lake.damage import REPAIR, damaged
from pipeline.lake.paths import Lake
from pipeline.lake.shard_tokens import ShardTokens
from schemas.token import KEY_VOCABULARY, TOKEN


@dataclass(frozen=True, slots=True)
class Shard:
    """A token shard as its footer describes it. Every shard holds one split only."""

    path: Path
    split: str
    rows: int
    row_groups: tuple[int, ...]
    """Rows of each row group."""
    vocabulary: str
    """Fingerprint of the vocabulary that its ids belong to."""
    tokens: ShardTokens | None = None
    """How many tokens it holds; None for shards of earlier releases."""


def read_shard(path: Path, *, whole_if_old: bool = True) -> Shard:
    """Reads a shard's footer and checks that it is the one that the shard's name promises.

    Args:
        whole_if_old: shards of releases before page checksums are read whole for that; False leaves them unchecked.

    Raises:
        InputNotFoundError: no such file.
        DataError: no Parquet file, damaged, another file than was written, or several splits in one shard.
        ContractError: not under the token contract, or of a newer version.
    """
    try:
        verify_name(path, whole_if_old=whole_if_old)
        with pq.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
    except READ_ERRORS as error:
        raise damaged(path, error, "the token shard", REPAIR) from error
    TOKEN.check(schema, str(path))
    return Shard(
        path=path,
        split=_split(path, schema, metadata),
        rows=metadata.num_rows,
        row_groups=tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)),
        vocabulary=(schema.metadata or {}).get(KEY_VOCABULARY, b"").decode(errors="replace"),
        tokens=ShardTokens.noted(schema.metadata or {}),
    )


def bring(path: Path) -> None:
    """Makes sure that a shard of a lake on a store is in the working copy, if the lake is one.

    Raises:
        StorageUnavailableError: the store does not answer.
        DataError: the shard in the store is not the one that was written.
    """
    if not path.exists() and (origin := Lake(path.parent.parent).origin) is not None:
        origin.fetch_shards([path.name])


@contextmanager
def open_shard(path: Path) -> Iterator[pq.ParquetFile]:
    """A shard to be read in the block, its pages' checksums verified.

    Raises:
        InputNotFoundError: it is not there any more.
        DataError: it is damaged.
    """
    bring(path)
    try:
        with open_parquet(path) as file:
            yield file
    except READ_ERRORS as error:
        raise damaged(path, error, "the token shard", REPAIR) from error


def plain_shards(place: Path) -> list[Shard]:
    """The shards in a folder (or one file), sorted by path; for shards without a Delta log.

    Raises:
        InputNotFoundError: nothing there.
        DataError: see `read_shard`.
    """
    paths = sorted(path for path in place.rglob("*.parquet") if not path.name.startswith(".")) if place.is_dir() else [place]
    if not paths:
        raise InputNotFoundError(f"no token shards (*.parquet) in {place}. Create some with 'pipeline ingest'.")
    return [read_shard(path) for path in paths]


def common_vocabulary(shards: list[Shard] | tuple[Shard, ...], where: str) -> str:
    """The one fingerprint of all the shards; "" for none.

    Raises:
        DataError: the shards disagree.
    """
    found = sorted({shard.vocabulary for shard in shards})
    if len(found) > 1:
        raise DataError(
            f"the shards of {where} belong to {len(found)} vocabularies ({', '.join(found)}); only one is allowed. "
            "Ingest everything again with --rebuild-vocab."
        )
    return found[0] if found else ""


def labelled_rows(shard: Shard) -> int:
    """Rows of a shard that have a label. The footer says how many have none; if it does not, the column is read.

    Raises:
        InputNotFoundError: the shard is not there any more.
        DataError: it is damaged.
    """
    with open_shard(shard.path) as file:
        leaf = next(i for i in range(len(file.schema)) if file.schema.column(i).path == "label")
        groups = [file.metadata.row_group(group).column(leaf).statistics for group in range(file.num_row_groups)]
        if all(found is not None and found.has_null_count for found in groups):
            return shard.rows - sum(int(found.null_count) for found in groups)
        return shard.rows - int(file.read(columns=["label"]).column(0).null_count)


def _split(path: Path, schema: pa.Schema, metadata: pq.FileMetaData) -> str:
    column = (
        next(i for i in range(metadata.num_columns) if metadata.row_group(0).column(i).path_in_schema == "split")
        if (metadata.num_row_groups)
        else -1
    )
    values: set[str | None] = set()
    for index in range(metadata.num_row_groups):
        statistics = metadata.row_group(index).column(column).statistics
        if statistics is None or not statistics.has_min_max or statistics.null_count:
            values.add(None)
        else:
            values |= {statistics.min, statistics.max}
    if len(values) > 1 or None in values:
        raise DataError(
            f"{path}: a token shard must contain a single split, stored in its statistics; this one has "
            f"{', '.join(sorted(map(str, values)))}. Write one file per split."
        )
    return str(values.pop()) if values else ""
