"""Row groups of token shards end after a number of rows, or of tokens where reviews are long."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.lake import shard_writer
from pipeline.lake.shard_writer import write_shard
from schemas.token import TOKEN


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [
        ([1] * 9, [4, 4, 1]),
        ([10, 10, 10], [1, 1, 1]),
        ([3, 3, 3, 3, 3, 3], [3, 3]),
        ([1, 100, 1, 1, 1, 1], [2, 4]),
        ([8, 1, 1, 1, 1, 1], [1, 4, 1]),
    ],
)
def test_a_row_group_ends_with_its_rows_or_its_tokens(
    lengths: list[int], groups: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_writer, "ROW_GROUP_ROWS", 4)
    monkeypatch.setattr(shard_writer, "ROW_GROUP_TOKENS", 8)
    rows = [{"review_id": str(i), "ids": list(range(2, 2 + length)), "split": "train"} for i, length in enumerate(lengths)]
    table = pa.Table.from_pylist(rows, schema=TOKEN.schema)
    shard = pq.ParquetFile(write_shard(tmp_path, "train", table, "0" * 16))
    assert [shard.metadata.row_group(index).num_rows for index in range(shard.num_row_groups)] == groups
    assert shard.read().equals(table.drop_columns("target"))  # no review has a number
