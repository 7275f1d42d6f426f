"""Writing token shards: Parquet named by split and content, so that the same rows give the same file everywhere."""

import hashlib
import secrets
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake.atomic import PREFIX, writing
from schemas.token import TOKEN, token_metadata

ROW_GROUP_ROWS = 1024
"""Rows of a row group: the unit that training deals to its ranks."""


def write_shard(folder: Path, split: str, rows: pa.Table, vocabulary: str) -> Path:
    """Writes the rows of one split as `<split>-<digest>.parquet` into an existing folder.

    Args:
        rows: under the token contract, all of the split.
        vocabulary: fingerprint of the vocabulary of their ids.

    Raises:
        CannotWriteError: the disk is full, say.
    """
    schema = TOKEN.schema.with_metadata(token_metadata(vocabulary))
    temporary = folder / f"{PREFIX}{secrets.token_hex(4)}.parquet"
    with writing(temporary):
        pq.write_table(
            rows.combine_chunks().cast(schema),
            temporary,
            row_group_size=ROW_GROUP_ROWS,
            compression="zstd",
            use_dictionary=["ids.list.element", "label", "stars", "split", "group", "source"],
            write_statistics=["label", "stars", "split", "row"],
        )
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()[:16]
        return temporary.rename(folder / f"{split}-{digest}.parquet")
