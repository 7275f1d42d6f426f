"""Writing token shards: Parquet named by split and content, so that the same rows give the same file everywhere."""

import itertools
import secrets
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.lake.atomic import PREFIX, create, writing
from pipeline.lake.content import footer_sha256, note_data_sha256
from schemas.token import KEY_TOKENS, KEY_UNKNOWN, TARGET, TOKEN, WITHOUT_TARGET, token_metadata
from schemas.vocabulary import UNK_ID

ROW_GROUP_ROWS = 1024
"""Rows of a row group: the unit that training deals to its ranks."""
ROW_GROUP_TOKENS = 4 << 20
"""Tokens after which a row group ends before it has so many rows: its writer takes several times their memory."""


def write_shard(folder: Path, split: str, rows: pa.Table, vocabulary: str) -> Path:
    """Writes the rows of one split as `<split>-<digest>.parquet` into an existing folder.

    The digest is the SHA-256 of the footer, which holds that of everything before it (see `lake.content`).

    Args:
        rows: under the token contract, all of the split.
        vocabulary: fingerprint of the vocabulary of their ids.

    Raises:
        CannotWriteError: the disk is full, say.
    """
    rows = rows.select((TOKEN.schema if _has_targets(rows) else WITHOUT_TARGET).names)
    schema = pa.schema([TOKEN.schema.field(name) for name in rows.column_names])
    schema = schema.with_metadata({**token_metadata(vocabulary), **_token_counts(rows["ids"])})
    temporary = folder / f"{PREFIX}{secrets.token_hex(4)}.parquet"
    with writing(temporary):
        create(temporary)
        with pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            use_dictionary=["ids.list.element", "label", "stars", "split", "group", "source"],
            write_statistics=["label", "stars", "split", "row"],
            write_page_checksum=True,
        ) as writer:
            for begin, end in itertools.pairwise(_row_groups(rows["ids"])):  # a copy of one row group at a time
                writer.write_table(rows.slice(begin, end - begin).combine_chunks().cast(schema))
            note_data_sha256(writer, temporary)
        return temporary.rename(folder / f"{split}-{footer_sha256(temporary)}.parquet")


def _has_targets(rows: pa.Table) -> bool:
    """Whether any row has a number: without one, a shard is what it was before there were any."""
    return TARGET in rows.column_names and rows[TARGET].null_count < len(rows)


def _row_groups(ids: pa.ChunkedArray) -> list[int]:
    """Where row groups begin, and the end of the last one."""
    tokens = np.cumsum(pc.list_value_length(ids).to_numpy(), dtype=np.int64)
    bounds = [0]
    while bounds[-1] < len(ids):
        before = tokens[bounds[-1] - 1] if bounds[-1] else 0
        full = int(np.searchsorted(tokens, before + ROW_GROUP_TOKENS)) + 1
        bounds.append(min(full, bounds[-1] + ROW_GROUP_ROWS, len(ids)))
    return bounds


def _token_counts(ids: pa.ChunkedArray) -> dict[bytes, bytes]:
    """The metadata that count the tokens: later runs know the table's share of unknown ones without reading a shard."""
    tokens = unknown = 0
    for chunk in ids.chunks:
        values = chunk.flatten().to_numpy(zero_copy_only=False)
        tokens += len(values)
        unknown += int(np.count_nonzero(values == UNK_ID))
    return {KEY_TOKENS: str(tokens).encode(), KEY_UNKNOWN: str(unknown).encode()}


def rows_written(path: Path) -> int:
    """Rows of a finished shard, as its footer counts them: what the run's counts are checked against."""
    return int(pq.read_metadata(path).num_rows)
