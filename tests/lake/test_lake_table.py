"""The token table: commits, versions, replacement, and what other tools read."""

from pathlib import Path

import duckdb
import polars
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from jobs.vacuum import VacuumConfig
from pipeline.config.vacuum import MOST_HOURS
from pipeline.errors import DataError, InputNotFoundError, LockedError, UsageError
from pipeline.lake import table as token_table
from pipeline.lake.shard_writer import write_shard
from pipeline.lake.shards import read_shard
from pipeline.lake.table import TokenTable
from schemas.token import TOKEN


def shard(folder: Path, split: str, ids: list[str], vocabulary: str = "v1") -> Path:
    folder.mkdir(exist_ok=True)
    rows = [
        {"review_id": i, "ids": [2, 3], "label": 0, "split": split, "source": "s", "row": n, "content_sha256": "0" * 64}
        for n, i in enumerate(ids)
    ]
    return write_shard(folder, split, pa.Table.from_pylist(rows, schema=TOKEN.schema), vocabulary)


def commit(folder: Path, added: list[Path], removed: list[Path], base: int | None, run_id: str = "run") -> int:
    return token_table.commit(folder, added=added, removed=removed, run_id=run_id, metadata={}, base=base)


def test_two_versions_stay_readable_as_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    first, test = shard(folder, "train", ["a", "b"]), shard(folder, "test", ["c"])
    assert commit(folder, [first, test], [], None) == 0
    second = shard(folder, "train", ["a", "d", "e"])
    assert commit(folder, [second], [first], 0) == 1
    ids = {version: sorted(polars.read_delta(str(folder), version=version)["review_id"].to_list()) for version in (0, 1)}
    assert ids == {0: ["a", "b", "c"], 1: ["a", "c", "d", "e"]}
    assert [(s.split, s.rows) for s in TokenTable.open(folder, 0).shards] == [("test", 1), ("train", 2)]
    newest = TokenTable.open(folder)
    assert (newest.version, newest.rows, newest.vocabulary) == (1, 4, "v1")


def test_deltalake_duckdb_and_polars_agree(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    commit(folder, [shard(folder, "train", ["a", "b"]), shard(folder, "unsup", ["c"])], [], None)
    delta = DeltaTable(str(folder)).to_pyarrow_table().sort_by("review_id")
    duck = duckdb.sql(f"select review_id, ids, split from read_parquet('{folder}/*.parquet') order by 1").fetchall()
    frame = polars.read_delta(str(folder)).sort("review_id")
    assert delta["review_id"].to_pylist() == ["a", "b", "c"] == frame["review_id"].to_list() == [row[0] for row in duck]
    assert delta["ids"].to_pylist() == [[2, 3]] * 3 == frame["ids"].to_list() == [row[1] for row in duck]


def test_a_commit_from_an_old_version_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    commit(folder, [shard(folder, "train", ["a"])], [], None, "one")
    commit(folder, [shard(folder, "train", ["b"])], [], 0, "two")
    with pytest.raises(LockedError, match="run the same command again"):
        commit(folder, [shard(folder, "train", ["c"])], [], 0, "three")
    assert TokenTable.open(folder).rows == 2


def test_absent_and_missing_pieces_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    with pytest.raises(InputNotFoundError, match="pipeline ingest"):
        TokenTable.open(folder)
    path = shard(folder, "train", ["a"])
    commit(folder, [path], [], None)
    with pytest.raises(InputNotFoundError, match="no readable version 5; its newest is 0"):
        TokenTable.open(folder, 5)
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"not a complete Parquet file.*pipeline repair"):
        TokenTable.open(folder)
    path.unlink()
    with pytest.raises(InputNotFoundError, match=r"does not exist.*pipeline repair"):
        TokenTable.open(folder)
    for version in (-1, 10**23):
        with pytest.raises(InputNotFoundError, match=f"no version {version}; versions count from 0"):
            TokenTable.open(tmp_path / "tokens", version)


def test_two_vocabularies_in_one_table_are_a_broken_contract(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    commit(folder, [shard(folder, "train", ["a"], "v1"), shard(folder, "test", ["b"], "v2")], [], None)
    with pytest.raises(DataError, match=r"2 vocabularies \(v1, v2\)"):
        _ = TokenTable.open(folder).vocabulary


def test_a_shard_with_two_splits_is_refused(tmp_path: Path) -> None:
    one = {"review_id": "a", "ids": [1], "source": "s", "row": 0, "content_sha256": ""}
    rows = pa.Table.from_pylist([{**one, "split": split} for split in ("train", "test")], schema=TOKEN.schema)
    path = write_shard(tmp_path, "train", rows, "v")
    with pytest.raises(DataError, match="contain a single split"):
        read_shard(path)


def test_vacuum_keeps_what_the_newest_version_needs(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    first = shard(folder, "train", ["a"])
    commit(folder, [first], [], None)
    second = shard(folder, "train", ["b"])
    commit(folder, [second], [first], 0)
    orphan = shard(folder, "test", ["left by a killed run"])
    assert token_table.vacuum(folder, keep_hours=0, dry_run=True)
    assert first.exists()
    token_table.vacuum(folder, keep_hours=MOST_HOURS, dry_run=False)
    token_table.vacuum(folder, keep_hours=0, dry_run=False)
    assert (first.exists(), second.exists(), orphan.exists()) == (False, True, False)
    assert TokenTable.open(folder).rows == 1


def test_nobody_keeps_versions_for_more_than_a_century(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--keep-hours 9999999999999: expected 0 to 876000"):
        VacuumConfig(lake=tmp_path, keep_hours=9_999_999_999_999)
