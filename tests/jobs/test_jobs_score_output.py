"""Where `pipeline score` writes: under which name, over what, and what it leaves alone."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import CannotWriteError, UsageError
from tests.support.scoring import ADDED, make_bundle, make_texts, run_score, scored
from tests.support.tables import Write


def test_the_same_again_ends_with_99_and_rewrites_nothing(lake: Path, write: Write) -> None:
    path = write(text=make_texts(20))
    scored(lake, path)
    output = lake / "predictions" / "reviews.parquet"
    stamp = output.stat()
    receipt = run_score(lake, path)
    assert (receipt.exit_code, receipt.read, receipt.known, receipt.written) == (99, 20, 20, 0)
    assert (output.stat().st_mtime_ns, output.stat().st_ino) == (stamp.st_mtime_ns, stamp.st_ino)
    assert run_score(lake, path, force=True).written == 20
    write(text=make_texts(21))
    assert run_score(lake, path).written == 21
    assert run_score(lake, path, keep=("none",)).written == 21
    make_bundle(lake / "models" / "second", seed=1)
    assert run_score(lake, path, keep=("none",), model="second").written == 21


def test_inputs_of_one_name_do_not_overwrite_each_other(lake: Path, write: Write, tmp_path: Path) -> None:
    first, second = write("a/day.parquet", text=["good"]), write("b/day.parquet", text=["bad"])
    scored(lake, first)
    with pytest.raises(UsageError, match=r"day.parquet contains the predictions of .*/a/day.parquet, an input of"):
        scored(lake, second)
    assert scored(lake, second, output=tmp_path / "b.parquet")["text"].to_pylist() == ["bad"]
    write("a/day.parquet", text=["good", "again"])
    assert len(scored(lake, first)) == 2
    assert scored(lake, second, force=True)["text"].to_pylist() == ["bad"]


@pytest.mark.parametrize("output", ["link.parquet", "link/b.parquet", "link/"])
def test_an_output_behind_links_in_a_circle_is_refused(lake: Path, write: Write, tmp_path: Path, output: str) -> None:
    for name in ("link", "link.parquet"):
        (tmp_path / name).symlink_to(name)
    with pytest.raises(CannotWriteError, match=r"links on its way lead in a circle\. Fix the link"):
        run_score(lake, write(text=["good"]), output=f"{tmp_path}/{output}")


def test_folders_keep_their_whole_name(lake: Path, write: Write, tmp_path: Path) -> None:
    for day in ("2026.01.30", "2026.01.31"):
        write(f"{day}/reviews.parquet", text=[day])
        run_score(lake, tmp_path / day)
    names = sorted(path.name for path in (lake / "predictions").iterdir() if path.name != ".notes")
    assert names == ["2026.01.30", "2026.01.31"]


def test_what_a_killed_run_left_goes_with_the_next(lake: Path, write: Write) -> None:
    (lake / "predictions").mkdir()
    for name in (".tmp-0a1b2c3d-reviews.parquet", ".tmp-0a1b2c3d-my-reviews.parquet"):
        (lake / "predictions" / name).write_bytes(b"half")
    scored(lake, write(text=["good"]))
    assert [path.name for path in (lake / "predictions").iterdir()] == ["reviews.parquet"]


def test_a_day_without_any_text_gets_no_predictions(lake: Path, write: Write) -> None:
    table = scored(lake, write(n=[1, 2], text=pa.nulls(2)))
    assert table["prediction"].to_pylist() == [None, None]


def test_an_output_whose_name_is_too_long_cannot_be_written(lake: Path, write: Write) -> None:
    for length in (240, 300):
        with pytest.raises(CannotWriteError, match="name too long"):
            scored(lake, write(text=["good"]), output=lake / f"{'x' * length}.parquet")


def test_the_input_is_never_the_output(lake: Path, write: Write, tmp_path: Path) -> None:
    path = write("pile/a.parquet", text=["good"])
    (tmp_path / "link.parquet").symlink_to(path)
    (tmp_path / "hard.parquet").hardlink_to(path)
    for output in (path, tmp_path / "link.parquet", tmp_path / "hard.parquet"):
        with pytest.raises(UsageError, match="never changes"):
            scored(lake, path, output=output, force=True)
    with pytest.raises(UsageError, match="never changes"):
        scored(lake, path.parent, output=path.with_name("b.parquet"))
    for folder in (tmp_path, path.parent):
        with pytest.raises(UsageError, match="never changes"):
            scored(lake, path.parent, output=folder)


def test_a_foreign_file_is_overwritten_by_force_only(lake: Path, write: Write, tmp_path: Path) -> None:
    path, mine = write(text=["good"]), write("mine.parquet", n=[1])
    with pytest.raises(UsageError, match="was not written by 'pipeline score'"):
        scored(lake, path, output=mine)
    assert scored(lake, path, output=mine, force=True).column_names == ["text", *ADDED]


def test_predictions_that_were_damaged_are_written_again(lake: Path, write: Write, tmp_path: Path) -> None:
    path = write(text=make_texts(20))
    for output, option in ((lake / "predictions" / "reviews.parquet", None), (tmp_path / "named.parquet",) * 2):
        before = scored(lake, path, output=option)
        whole = output.read_bytes()
        key = whole.index(b"review_pipeline.schema")
        name = whole[: key + 3] + b"X" + whole[key + 4 :]
        for damaged in (whole[: len(whole) // 2], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], b"", name):
            output.write_bytes(damaged)
            assert run_score(lake, path, output=option).exit_code == 0
            assert output.read_bytes() == whole
        assert run_score(lake, path, output=option).exit_code == 99
        assert len(before) == 20
    (tmp_path / "mine.parquet").write_bytes(b"of somebody else")
    with pytest.raises(UsageError, match="was not written by 'pipeline score'"):
        scored(lake, path, output=tmp_path / "mine.parquet")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_text_predictions_that_were_damaged_in_the_lake_are_written_again(lake: Path, write: Write, form: str) -> None:
    path, output = write(text=make_texts(20)), lake / "predictions" / f"reviews.{form}"
    assert run_score(lake, path, output_format=form).written == 20
    whole = output.read_bytes()
    for damaged in (whole[: len(whole) // 2], b""):
        output.write_bytes(damaged)
        assert run_score(lake, path, output_format=form).exit_code == 0
        assert output.read_bytes() == whole
    assert run_score(lake, path, output_format=form).exit_code == 99
