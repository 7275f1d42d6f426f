"""The index of keys: it answers as the shards do, whatever happens to its files, and never changes what is written."""

import os
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import erase, vacuum
from pipeline.config.erase import EraseConfig
from pipeline.config.vacuum import VacuumConfig
from pipeline.errors import DataError
from pipeline.lake import index_file, table, table_index
from pipeline.lake.index_file import PLAIN, SECTIONS, IndexFile, write_index_file
from pipeline.lake.known import OTHER, SAME, UNSEEN, contents_of, keys_of
from pipeline.lake.paths import Lake
from pipeline.lake.shards import Shard, read_shard
from pipeline.lake.table import TokenTable
from pipeline.lake.table_index import IndexFiles, TableIndex
from schemas.run import Receipt
from tests.support import ingested
from tests.support.ingested import files_of, rows_of
from tests.support.tables import write_csv

Rows = Sequence[tuple[str, str]]


def night(folder: Path, name: str, rows: Rows) -> Path:
    """A table of ids and texts."""
    return write_csv(folder / f"{name}.csv", "id,text,label", *(f"{key},{text},pos" for key, text in rows))


def ingest(lake: Path, source: Path, **options: object) -> Receipt:
    return ingested.ingest(lake, source, id_column="id", **options)


def numbered(first: int, end: int) -> Rows:
    return [(f"r{number}", f"review number {number}") for number in range(first, end)]


@contextmanager
def index_of(root: Path, scratch: Path | None = None) -> Iterator[TableIndex]:
    with IndexFiles(Lake(root)) as files:
        yield TableIndex(files, TokenTable.open(root / "tokens", noted=files.noted).shards, scratch=scratch)


def index_files(root: Path) -> list[Path]:
    return sorted((root / ".index").glob("*"))


def check(root: Path, absent: Sequence[str] = ()) -> None:
    """What the index says is what the shards hold."""
    rows = rows_of(root)
    keys = keys_of([row["review_id"] for row in rows])
    contents = contents_of([row["content_sha256"] for row in rows])
    nothing = keys_of(["no such review", *absent])
    with index_of(root) as index:
        assert len(index) == len(rows)
        assert set(index.states(keys, contents)) == {SAME}
        assert set(index.states(keys, contents + np.uint64(1))) == {OTHER}
        assert set(index.states(nothing, nothing)) == {UNSEEN}
        assert index.holds_contents(contents).all() and not index.holds_contents(nothing).any()
        for row in rows:
            assert index.shards_from([row["source"]])
        assert not index.shards_from(["nowhere.csv"])


@given(
    st.lists(st.integers(0, 40), max_size=80),
    st.lists(st.integers(0, 40), max_size=20),
    st.booleans(),
    st.integers(0, 41),
)
def test_a_section_finds_what_an_array_does(
    tmp_path_factory: pytest.TempPathFactory, held: list[int], sought: list[int], loaded: bool, low: int
) -> None:
    records = np.zeros(len(held), PLAIN)
    records["key"], records["shard"] = sorted(held), range(len(held))
    path = tmp_path_factory.mktemp("index") / "one.keys"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_file, "BLOCK", 4)
        patch.setattr(index_file, "KEYS", 3)
        patch.setattr(index_file, "LOADED_BYTES", 1 << 20 if loaded else -1)
        sections = [[np.zeros(0, SECTIONS["ids"])], [records[:7], records[7:]], []]
        write_index_file(path, [], sections)
        file = IndexFile(path, tmp_path_factory.getbasetemp())
        keys = np.array(sorted(sought), np.uint64)
        places, found = file.sections["contents"].find(keys)
        expected = [
            (place, number) for place, key in enumerate(keys.tolist()) for number in np.flatnonzero(records["key"] == key)
        ]
        assert list(zip(places.tolist(), found["shard"].tolist(), strict=True)) == expected
        between = file.sections["contents"].between(low, low + 5)
        assert between["key"].tolist() == [key for key in sorted(held) if low <= key < low + 5]
        assert file.sections["contents"].between(low, 2**64)["key"].tolist() == [key for key in sorted(held) if low <= key]
        assert not len(file.sections["ids"].find(keys)[0]) and not len(file.sections["sources"].find(keys)[0])
        file.close()


def test_a_file_is_written_in_a_small_part_of_its_size(tmp_path: Path) -> None:
    parts, rows = 64, 1 << 14

    def records() -> Iterator[index_file.Records]:
        for part in range(parts):
            found = np.zeros(rows, PLAIN)
            found["key"] = np.arange(part * rows, (part + 1) * rows)
            yield found

    tracemalloc.start()
    try:
        write_index_file(tmp_path / "large.keys", [], [[], records(), []])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < parts * rows * PLAIN.itemsize / 4
    file = IndexFile(tmp_path / "large.keys", tmp_path)
    assert file.sections["contents"].between(0, 2**64)["key"].tolist() == list(range(parts * rows))
    file.close()


def test_nights_merge_into_few_files_that_answer_as_the_shards_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_file, "BLOCK", 8)
    monkeypatch.setattr(index_file, "LOADED_BYTES", 0)
    monkeypatch.setattr(table_index, "MERGED_RECORDS", 16)
    lake = tmp_path / "lake"
    for number in range(9):
        ingest(lake, night(tmp_path, f"night{number}", numbered(10 * number, 10 * number + 10)))
        check(lake)
    assert len(index_files(lake)) <= 3
    changed = [("r5", "another text"), ("r7", "a third text"), *numbered(90, 95)]
    receipt = ingest(lake, night(tmp_path, "changed", changed))
    assert receipt.metrics["replaced"] == 2
    check(lake)


def test_the_same_shards_with_and_without_an_index(tmp_path: Path) -> None:
    lakes = {True: tmp_path / "with", False: tmp_path / "without"}
    steps: list[tuple[str, Rows, dict[str, object]]] = [
        ("first", numbered(0, 40), {}),
        ("second", [*numbered(30, 60), ("r3", "changed")], {}),
        ("same texts", [(f"again{number}", f"review number {number}") for number in range(20, 70)], {"dedupe": True}),
        ("first", numbered(5, 38), {"prune": True}),
        ("repeated", [("r1", "one"), ("r1", "two"), *numbered(100, 105)], {}),
    ]
    for name, rows, options in steps:
        path = night(tmp_path, name, rows)
        receipts = {}
        for indexed, lake in lakes.items():
            for file in [] if indexed else index_files(lake):
                file.unlink()
            receipts[indexed] = ingest(lake, path, **options)
        assert files_of(lakes[True]) == files_of(lakes[False])
        assert receipts[True].metrics == receipts[False].metrics
    assert receipts[True].metrics["duplicates"] == 0 and receipts[True].rejected == 1


def test_known_shards_are_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = tmp_path / "lake"
    ingest(lake, night(tmp_path, "first", numbered(0, 50)))
    ingest(lake, night(tmp_path, "second", numbered(50, 60)))
    opened: list[str] = []

    def read_and_note(path: Path, *, whole_if_old: bool = True) -> Shard:
        opened.append(path.name)
        return read_shard(path, whole_if_old=whole_if_old)

    monkeypatch.setattr(table, "read_shard", read_and_note)
    old = {path.name for path in (lake / "tokens").glob("train-*.parquet")}
    TokenTable.open(lake / "tokens")
    assert set(opened) == old
    opened.clear()
    ingest(lake, night(tmp_path, "third", numbered(60, 70)))
    ingest(lake, night(tmp_path, "fourth", numbered(70, 80)))
    assert len(old.intersection(opened)) == 1  # the second night's, which no run had met before


@pytest.mark.parametrize("damage", ["emptied", "cut", "end", "records", "version"])
def test_a_damaged_index_is_made_again(tmp_path: Path, damage: str) -> None:
    lake = tmp_path / "lake"
    ingest(lake, night(tmp_path, "first", numbered(0, 600)))
    with index_of(lake):
        (path,) = index_files(lake)
    content = bytearray(path.read_bytes())
    if damage == "records":
        content[5000] ^= 1
    elif damage == "end":
        content[-40] ^= 1
    elif damage == "version":
        content[-1] ^= 1
    path.write_bytes(content[: {"emptied": 0, "cut": len(content) // 2}.get(damage)])
    receipt = ingest(lake, night(tmp_path, "again", [*numbered(0, 600), ("new", "a new one")]))
    assert (receipt.known, receipt.written) == (600, 1)
    check(lake)
    assert path not in index_files(lake)


def test_a_shard_that_changed_on_the_disk_is_read_again(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, night(tmp_path, "first", numbered(0, 50)))
    with index_of(lake) as index:
        (shard,) = index.shards
    content = bytearray(shard.path.read_bytes())
    content[100] ^= 1
    shard.path.write_bytes(content)
    os.utime(shard.path, ns=(1, 1))
    with pytest.raises(DataError, match="pipeline repair"):
        ingest(lake, night(tmp_path, "second", numbered(50, 60)))


def test_files_of_a_killed_merge_do_no_harm(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, night(tmp_path, "first", numbered(0, 20)))
    with index_of(lake):
        (small,) = index_files(lake)
    kept = small.read_bytes()
    ingest(lake, night(tmp_path, "second", numbered(20, 40)))
    with index_of(lake):
        assert small not in index_files(lake)  # merged
    small.write_bytes(kept)
    (lake / ".index" / ".tmp-0000-half.keys").write_bytes(kept[:100])
    check(lake)
    ingest(lake, night(tmp_path, "third", numbered(40, 45)))
    check(lake)
    assert small not in index_files(lake) and not list((lake / ".index").glob(".tmp-*"))


def test_a_dry_run_leaves_the_index_alone(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, night(tmp_path, "first", numbered(0, 20)))
    receipt = ingest(lake, night(tmp_path, "second", numbered(10, 30)), dry_run=True)
    assert (receipt.known, receipt.written) == (10, 10)
    assert not (lake / ".index").exists()


def test_an_erased_review_leaves_the_index_at_once(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, night(tmp_path, "first", numbered(0, 20)))
    ingest(lake, night(tmp_path, "second", numbered(20, 40)))
    key = keys_of(["r7"]).astype("<u8").tobytes()
    with index_of(lake):
        assert any(key in path.read_bytes() for path in index_files(lake))
    erase.run(EraseConfig(lake=lake, review_id=("r7",)))
    assert not any(key in path.read_bytes() for path in index_files(lake))
    check(lake, absent=["r7"])


def test_vacuum_takes_what_the_table_lost_out_of_the_index(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, night(tmp_path, "first", numbered(0, 20)))
    ingest(lake, night(tmp_path, "second", [("r3", "changed")]))
    with index_of(lake):
        pass
    before = index_files(lake)
    ingest(lake, night(tmp_path, "all", [(f"r{n}", "new") for n in range(20)]), rebuild_vocab=True)
    vacuum.run(VacuumConfig(lake=lake, keep_hours=0))
    assert before and not index_files(lake)
    check(lake)
