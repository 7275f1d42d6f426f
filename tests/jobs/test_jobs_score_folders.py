"""`pipeline score` of folders into one output: files whose columns differ, files that cannot be scored, columns that folders
name. Folders with an output per file: `test_jobs_score_each.py`."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import score
from pipeline.errors import DataError
from pipeline.readers.limits import Limit
from tests.support.scoring import ADDED, make_words, run_score, scored
from tests.support.tables import Write

MANY = make_words(3000)


def damage(path: Path) -> None:
    """Breaks the last pages of a Parquet file and leaves its footer whole."""
    content = bytearray(path.read_bytes())
    footer = int.from_bytes(content[-8:-4], "little") + 8
    end = len(content) - footer
    content[end - 900 : end - 500] = b"\xff" * 400
    path.write_bytes(content)


def mixed_up(write: Write, name: str) -> Path:
    """A file of many row groups whose end is damaged."""
    path = write(name, n=list(range(3000)), text=MANY)
    damage(path)
    return path


def test_columns_are_matched_by_name_and_types_widened(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"], n=pa.array([1], pa.int32()), note=pa.nulls(1), s=["a"])
    write("in/b.parquet", s=pa.array(["b"], pa.large_string()), note=["x"], n=pa.array([2], pa.int64()), text=["bad"])
    write("in/c.parquet", n=pa.array([3.5]), text=pa.nulls(1), extra=[True], s=pa.array(["c"]).dictionary_encode())
    table = scored(lake, tmp_path / "in", output=tmp_path / "all.parquet")
    assert table.column_names == ["text", "n", "note", "s", "extra", *ADDED]
    kept = table.select(["text", "n", "note", "s", "extra"]).to_pylist()
    assert kept == [
        {"text": "good", "n": 1.0, "note": None, "s": "a", "extra": None},
        {"text": "bad", "n": 2.0, "note": "x", "s": "b", "extra": None},
        {"text": None, "n": 3.5, "note": None, "s": "c", "extra": True},
    ]
    assert table["unscored_reason"].to_pylist() == [None, None, "no_text"]


def test_integers_stay_integers(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"], n=pa.array([1], pa.int32()))
    write("in/b.parquet", text=["bad"], n=pa.array([2**60], pa.int64()))
    table = scored(lake, tmp_path / "in", output=tmp_path / "all.parquet")
    assert table.schema.field("n").type == pa.int64()
    assert table["n"].to_pylist() == [1, 2**60]


def test_what_cannot_be_one_column_is_named_and_can_be_left_out(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"], day=pa.array([1], pa.date32()))
    write("in/b.parquet", text=["bad"], day=["monday"])
    with pytest.raises(
        DataError, match=r"b\.parquet: the column 'day' is string, but date32\[day\] in .*a\.parquet.*--keep"
    ):
        scored(lake, tmp_path / "in", output=tmp_path / "all.parquet")
    assert scored(lake, tmp_path / "in", keep=("text",), output=tmp_path / "all.parquet")["text"].to_pylist() == [
        "good",
        "bad",
    ]


def test_partitions_are_columns(lake: Path, write: Write, tmp_path: Path) -> None:
    for day, shop in (("2024-01-01", "a b"), ("2024-01-02", None)):
        folder = f"in/day={day}/shop={'a%20b' if shop else '__HIVE_DEFAULT_PARTITION__'}"
        write(f"{folder}/p.parquet", text=["good", "bad"], n=[1, 2])
    table = scored(lake, tmp_path / "in", output=tmp_path / "all.parquet")
    assert table.column_names == ["text", "n", "day", "shop", *ADDED]
    assert table["day"].to_pylist() == ["2024-01-01"] * 2 + ["2024-01-02"] * 2
    assert table["shop"].to_pylist() == ["a b"] * 2 + [None] * 2
    (tmp_path / "json/day=1").mkdir(parents=True)
    (tmp_path / "json/day=1/a.jsonl").write_text('{"text": "good"}\n')
    run_score(lake, tmp_path / "json", output=tmp_path / "o.jsonl")
    assert json.loads((tmp_path / "o.jsonl").read_text())["day"] == "1"


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_damaged_file_is_left_out_whole_and_named(
    lake: Path, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    write("in/a.parquet", n=[-1], text=["good"])
    mixed_up(write, "in/b.parquet")
    (tmp_path / "in/c.parquet").write_bytes(b"PAR1 cut short")
    mixed_up(write, "in/d.parquet")
    write("in/e.parquet", n=[-2], text=["bad"])
    output = tmp_path / f"out{suffix}"
    receipt = run_score(lake, tmp_path / "in", output=output)
    assert (receipt.read, receipt.written, receipt.rejected, receipt.quarantined) == (2, 2, 0, 3)
    assert sum(receipt.metrics["predicted"].values()) == 2
    found = pq.read_table(output)["n"].to_pylist() if suffix == ".parquet" else output.read_text().splitlines()
    assert len(found) == 2 + (suffix == ".csv")
    for name in "bcd":
        assert f"{name}.parquet: cannot be read as parquet" in caplog.text
    assert run_score(lake, tmp_path / "in", output=output).exit_code == 99
    write("in/d.parquet", n=[-3], text=["good"])
    mended = run_score(lake, tmp_path / "in", output=output)
    assert (mended.exit_code, mended.written, mended.quarantined) == (0, 3, 2)


def test_how_many_files_may_be_left_out(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"])
    (tmp_path / "in/b.parquet").write_bytes(b"")
    assert (
        run_score(lake, tmp_path / "in", output=tmp_path / "all.parquet", max_bad_files=Limit.parse("50%")).quarantined == 1
    )
    for options in ({"strict": True}, {"max_bad_files": Limit.parse("0")}, {"max_bad_files": Limit.parse("10%")}):
        with pytest.raises(DataError, match=r"1 of 2 files cannot be scored; --max-bad-files allows .*b\.parquet: empty"):
            run_score(lake, tmp_path / "in", output=tmp_path / "all.parquet", force=True, **options)
    (tmp_path / "in/a.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of 2 files can be scored"):
        run_score(lake, tmp_path / "in", output=tmp_path / "all.parquet", force=True)


def test_a_file_without_the_text_column_is_left_out(
    lake: Path, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write("in/a.parquet", text=["good"])
    write("in/b.parquet", body=["bad"])
    receipt = run_score(lake, tmp_path / "in", output=tmp_path / "all.parquet")
    assert (receipt.written, receipt.quarantined) == (1, 1)
    assert "b.parquet: no column 'text'" in caplog.text
    assert pq.read_table(receipt.outputs["predictions"]).column_names == ["text", *ADDED]


def test_a_file_that_changes_meanwhile_is_left_out(
    lake: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("in/a.parquet", text=["good"])
    changing = write("in/b.parquet", text=["bad"])
    look = score.open_input

    def looking(*arguments: Any) -> Any:
        source = look(*arguments)
        changing.touch()
        return source

    monkeypatch.setattr(score, "open_input", looking)
    receipt = run_score(lake, tmp_path / "in", output=tmp_path / "all.parquet")
    assert (receipt.written, receipt.quarantined) == (1, 1)


def test_page_checksums_are_verified(lake: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": MANY}), path, write_page_checksum=True, use_dictionary=False, compression="none")
    content = path.read_bytes()
    place = content.index(b"story", 1000)
    path.write_bytes(content[:place] + b"stormy"[:5] + content[place + 5 :])
    with pytest.raises(DataError, match=r"in\.parquet: cannot be read as parquet: .*(CRC|checksum).*Nothing was written"):
        run_score(lake, path)
    assert not list((lake / "predictions").glob("*"))


def test_a_text_that_cannot_be_opened_is_left_out_alone(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("good")
    (tmp_path / "in/b.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in/c.txt.gz").write_bytes(b"not gzip")
    receipt = run_score(lake, tmp_path / "in", output=tmp_path / "all.parquet")
    assert (receipt.read, receipt.written, receipt.quarantined) == (1, 1, 2)


def test_files_that_were_written_a_moment_ago_wait(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/new.parquet", text=["good"])
    assert run_score(lake, tmp_path / "in", output=tmp_path / "all.parquet", settle=3600.0).exit_code == 99
    old = write("in/old.parquet", text=["bad"])
    os.utime(old, (time.time() - 7200,) * 2)
    assert run_score(lake, tmp_path / "in", output=tmp_path / "all.parquet", settle=3600.0).written == 1


def test_files_without_rows_are_no_fault(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"])
    (tmp_path / "in/b.csv").write_bytes(b"")
    (tmp_path / "in/c.csv").write_bytes(b"text\n")
    (tmp_path / "in/d.jsonl").write_bytes(b"")
    receipt = run_score(lake, tmp_path / "in", output=tmp_path / "all.parquet")
    assert (receipt.written, receipt.quarantined) == (1, 0)
