"""`pipeline score` of folders, globs and lists: an output per input, and only what is new is scored."""

import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import score, score_each
from pipeline.doctor.lake import lake_checks
from pipeline.errors import DataError, LockedError, StoppedError, UsageError
from pipeline.lake.leftovers import find_leftovers
from pipeline.lake.locks import locked_output
from pipeline.lake.paths import Lake
from pipeline.readers.limits import Limit
from pipeline.scoring import scored as notes
from schemas.run import Receipt
from tests.support.scoring import ADDED, make_bundle, make_texts, make_words, run_score, scored
from tests.support.tables import Write


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that the tests need not wait."""
    monkeypatch.setattr(notes, "SETTLED_SECONDS", -1e9)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of inputs that are looked into, as they come."""
    names: list[str] = []
    look = score_each.open_input

    def looking(name: str, *arguments: Any) -> Any:
        names.append(name.rpartition("/")[2])
        return look(name, *arguments)

    monkeypatch.setattr(score_each, "open_input", looking)
    return names


def outputs(folder: Path) -> list[str]:
    """Names of the predictions, relative to the folder."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and ".notes" not in path.parts
    )


def texts(path: Path) -> list[str]:
    return pq.read_table(path)["text"].to_pylist()


def counts(receipt: Receipt) -> tuple[int, int, int, int]:
    """Exit code, and how many inputs were scored, known and left out."""
    inputs = receipt.metrics["inputs"]
    return receipt.exit_code, inputs["scored"], inputs["known"], inputs["quarantined"]


def second_model(lake: Path) -> None:
    """Another model goes live."""
    make_bundle(lake / "models" / "second", seed=1)
    (lake / "models" / "LATEST").write_text("second\n")


def test_one_more_file_costs_that_file_alone(lake: Path, write: Write, tmp_path: Path, opened: list[str]) -> None:
    write("in/a.parquet", text=["good", "bad"])
    first = run_score(lake, tmp_path / "in")
    assert counts(first) == (0, 1, 0, 0)
    folder = lake / "predictions" / "in"
    assert (first.outputs["predictions"], first.outputs["model"]) == (str(folder), "first")
    before = (folder / "a.parquet").stat()
    write("in/b.parquet", text=["dull"])
    opened.clear()
    receipt = run_score(lake, tmp_path / "in")
    assert counts(receipt) == (0, 1, 1, 0)
    assert (receipt.read, receipt.written, receipt.known) == (3, 1, 2)
    assert opened == ["b.parquet"]
    assert receipt.metrics["inputs"]["listed"] == [
        {"input": (tmp_path / "in/b.parquet").as_uri(), "state": "scored", "rows": 1, "output": "b.parquet"},
        {"input": (tmp_path / "in/a.parquet").as_uri(), "state": "known", "rows": 2, "output": "a.parquet"},
    ]
    after = (folder / "a.parquet").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    again = run_score(lake, tmp_path / "in")
    assert counts(again) == (99, 0, 2, 0)
    assert (again.read, again.known, again.written) == (3, 3, 0)


def test_each_output_is_what_the_input_alone_gives(lake: Path, write: Write, tmp_path: Path) -> None:
    """To the byte, although the model prepares itself for many reviews."""
    write("in/a.parquet", text=make_texts(500), n=list(range(500)))
    for name in "bcdef":
        write(f"in/{name}.parquet", text=make_words(1, seed=ord(name)), other=["x"])
    run_score(lake, tmp_path / "in")
    for name in (f"{letter}.parquet" for letter in "abcdef"):
        alone = scored(lake, tmp_path / "in" / name, output=tmp_path / "alone.parquet", force=True)
        assert (lake / "predictions" / "in" / name).read_bytes() == (tmp_path / "alone.parquet").read_bytes()
        assert alone.column_names[-len(ADDED) :] == ADDED


def test_a_changed_input_replaces_its_output_and_readers_keep_the_old_one(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"])
    write("in/b.parquet", text=["bad"])
    run_score(lake, tmp_path / "in")
    output = lake / "predictions" / "in" / "a.parquet"
    with output.open("rb") as reader:
        write("in/a.parquet", text=["good", "again"])
        assert counts(run_score(lake, tmp_path / "in")) == (0, 1, 1, 0)
        assert texts(output) == ["good", "again"]
        assert pq.read_table(reader)["text"].to_pylist() == ["good"]


def test_an_input_of_the_same_time_and_size_but_other_content_is_scored(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.csv"
    path.write_text("text\ngood\n")
    run_score(lake, tmp_path / "in")
    status = path.stat()
    path.write_text("text\ndull\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert counts(run_score(lake, tmp_path / "in")) == (0, 1, 0, 0)
    assert texts(lake / "predictions" / "in" / "a.csv.parquet") == ["dull"]


def test_a_copy_with_another_time_is_known_by_its_content(
    lake: Path, write: Write, tmp_path: Path, opened: list[str]
) -> None:
    path = write("in/a.parquet", text=["good"])
    run_score(lake, tmp_path / "in")
    shutil.copy(path, tmp_path / "copy.parquet")
    (tmp_path / "copy.parquet").replace(path)
    assert counts(run_score(lake, tmp_path / "in")) == (99, 0, 1, 0)
    opened.clear()
    assert counts(run_score(lake, tmp_path / "in")) == (99, 0, 1, 0)
    assert opened == []


def test_outputs_of_inputs_that_vanished_stay(lake: Path, write: Write, tmp_path: Path) -> None:
    gone = write("in/a.parquet", text=["good"])
    write("in/b.parquet", text=["bad"])
    run_score(lake, tmp_path / "in")
    gone.unlink()
    assert counts(run_score(lake, tmp_path / "in")) == (99, 0, 1, 0)
    assert outputs(lake / "predictions" / "in") == ["a.parquet", "b.parquet"]


def test_a_new_live_model_scores_new_inputs_and_all_of_them_on_request(
    lake: Path, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write("in/a.parquet", text=["good"])
    run_score(lake, tmp_path / "in")
    second_model(lake)
    write("in/b.parquet", text=["bad"])
    caplog.set_level("INFO")
    receipt = run_score(lake, tmp_path / "in")
    assert counts(receipt) == (0, 1, 1, 0)
    assert receipt.metrics["inputs"]["known_earlier_model"] == 1
    assert "1 inputs keep the predictions of an earlier model; --rescore all scores them again" in caplog.text
    models = {
        name: pq.read_table(lake / "predictions/in" / name)["model_id"].to_pylist() for name in ("a.parquet", "b.parquet")
    }
    assert models == {"a.parquet": ["first"], "b.parquet": ["second"]}
    assert counts(run_score(lake, tmp_path / "in", rescore="all")) == (0, 1, 1, 0)
    assert pq.read_table(lake / "predictions/in/a.parquet")["model_id"].to_pylist() == ["second"]
    assert counts(run_score(lake, tmp_path / "in", rescore="all")) == (99, 0, 2, 0)


def test_a_model_that_is_named_scores_all_inputs(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"])
    run_score(lake, tmp_path / "in")
    make_bundle(lake / "models" / "second", seed=1)
    assert counts(run_score(lake, tmp_path / "in", model="second")) == (0, 1, 0, 0)
    assert counts(run_score(lake, tmp_path / "in", model="first", rescore="new")) == (99, 0, 1, 0)


def test_a_file_alone_is_scored_again_by_a_new_model_unless_told_otherwise(lake: Path, write: Write) -> None:
    path = write(text=["good"])
    run_score(lake, path)
    second_model(lake)
    assert run_score(lake, path, rescore="new").exit_code == 99
    assert run_score(lake, path).written == 1


def test_other_options_score_again_and_force_does(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"], n=[1])
    run_score(lake, tmp_path / "in")
    assert counts(run_score(lake, tmp_path / "in", keep=("none",))) == (0, 1, 0, 0)
    assert pq.read_schema(lake / "predictions/in/a.parquet").names == ADDED
    assert counts(run_score(lake, tmp_path / "in", keep=("none",), force=True)) == (0, 1, 0, 0)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_text_outputs_are_known_too(lake: Path, write: Write, tmp_path: Path, form: str) -> None:
    write("in/a.parquet", text=["good"])
    assert counts(run_score(lake, tmp_path / "in", output_format=form)) == (0, 1, 0, 0)
    assert outputs(lake / "predictions") == [f"in/a.parquet.{form}"]
    assert counts(run_score(lake, tmp_path / "in", output_format=form)) == (99, 0, 1, 0)
    second_model(lake)
    assert counts(run_score(lake, tmp_path / "in", output_format=form)) == (99, 0, 1, 0)
    (lake / "predictions" / "in" / f"a.parquet.{form}").write_text("somebody was here\n")
    assert counts(run_score(lake, tmp_path / "in", output_format=form)) == (0, 1, 0, 0)


def test_a_bad_input_is_left_out_remembered_and_tried_again_when_it_changed(
    lake: Path, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture, opened: list[str]
) -> None:
    write("in/a.parquet", text=["good"])
    bad = tmp_path / "in" / "b.parquet"
    bad.write_bytes(b"PAR1 cut short")
    write("in/c.parquet", body=["bad"])
    receipt = run_score(lake, tmp_path / "in")
    assert counts(receipt) == (0, 1, 0, 2)
    assert (receipt.quarantined, receipt.read, receipt.written) == (2, 1, 1)
    opened.clear()
    caplog.clear()
    assert counts(run_score(lake, tmp_path / "in")) == (99, 0, 1, 2)
    assert opened == []
    assert "b.parquet: cannot be read as parquet" in caplog.text and "c.parquet: no column 'text'" in caplog.text
    write("in/b.parquet", text=["bad"])
    assert counts(run_score(lake, tmp_path / "in")) == (0, 1, 1, 1)
    assert counts(run_score(lake, tmp_path / "in", text_column=("body",), max_bad_files=None)) == (0, 1, 0, 2)


def test_how_many_bad_inputs_are_allowed(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"])
    (tmp_path / "in/b.parquet").write_bytes(b"")
    for limit in ({"strict": True}, {"max_bad_files": Limit.parse("0")}):
        with pytest.raises(
            DataError, match=r"1 of 2 files cannot be scored; --max-bad-files allows 0.* The first: .*b\.parquet"
        ):
            run_score(lake, tmp_path / "in", **limit)
    assert counts(run_score(lake, tmp_path / "in", max_bad_files=Limit.parse("50%"))) == (99, 0, 1, 1)
    (tmp_path / "in/a.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="none of 2 files can be scored"):
        run_score(lake, tmp_path / "in")
    assert texts(lake / "predictions/in/a.parquet") == ["good"]


def test_an_input_with_too_many_bad_rows_is_left_out(
    lake: Path, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write("in/a.parquet", text=["good"])
    (tmp_path / "in/b.csv").write_text("n,text\n1,bad\n2\n3,4,5\n")
    assert counts(run_score(lake, tmp_path / "in")) == (0, 1, 0, 1)
    assert "2 of 3 rows are malformed; --max-bad allows 5%" in caplog.text
    assert counts(run_score(lake, tmp_path / "in", max_bad=Limit.parse("3"))) == (0, 1, 1, 0)


def test_an_input_that_cannot_take_the_columns_does_not_stop_the_others(
    lake: Path, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write("in/a.parquet", text=["good"], n=[1])
    write("in/b.parquet", text=["good"], prediction=["pos"])
    write("in/c.parquet", text=["good"])
    assert counts(run_score(lake, tmp_path / "in", keep=("n",))) == (0, 1, 0, 2)
    assert "--keep: " in caplog.text and "has no column 'n'" in caplog.text
    assert counts(run_score(lake, tmp_path / "in")) == (0, 2, 0, 1)
    assert "already has the columns prediction" in caplog.text


def test_names_of_outputs(lake: Path, write: Write, tmp_path: Path) -> None:
    names = {
        "x.csv": "x.csv.parquet",
        "x.csv.parquet": "x.csv.parquet.parquet",
        "x.parquet": "x.parquet",
        "X.PARQUET": "X.PARQUET.parquet",
        "x.jsonl": "x.jsonl.parquet",
        "sub/x.parquet": "sub/x.parquet",
        "other/x.parquet": "other/x.parquet",
        "day=1/x.parquet": "day%3D1/x.parquet",
        "day%3D1/x.parquet": "day%253D1/x.parquet",
        "part.parquet/x.parquet": "part%2Eparquet/x.parquet",
        "t/1.txt": "t/reviews.txt.parquet",
        "t/2.txt": "t/reviews.txt.parquet",
        "t/reviews.txt.parquet": "t/reviews.txt.parquet.parquet",
        "pack.tar": "pack.tar.parquet",
    }
    for name in names:
        if name.endswith((".parquet", ".PARQUET")):
            write(f"in/{name}", text=[name])
        else:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'{{"text": "{name}"}}\n' if name.endswith("jsonl") else f"text\n{name}\n")
    (tmp_path / "in/pack.tar").unlink()
    with tarfile.open(tmp_path / "in/pack.tar", "w") as archive:
        archive.add(tmp_path / "in/t/1.txt", "1.txt")
    receipt = run_score(lake, tmp_path / "in")
    assert counts(receipt) == (0, len(names) - 1, 0, 0)
    assert outputs(lake / "predictions" / "in") == sorted(set(names.values()))
    for name in ("x.csv", "x.csv.parquet", "day=1/x.parquet", "day%3D1/x.parquet"):
        assert texts(lake / "predictions" / "in" / names[name]) == [name]
    assert len(texts(lake / "predictions/in/t/reviews.txt.parquet")) == 2
    assert counts(run_score(lake, tmp_path / "in")) == (99, 0, len(names) - 1, 0)


def test_odd_names(lake: Path, write: Write, tmp_path: Path) -> None:
    long = "x" * 245 + ".csv"
    broken = os.fsdecode(b"caf\xe9.csv")
    (tmp_path / ".in").mkdir()
    for name in (long, broken, "a b.csv", "_hidden.csv"):
        (tmp_path / ".in" / name).write_text(f"text\ngood {len(name)}\n")
    assert counts(run_score(lake, tmp_path / ".in")) == (0, 3, 0, 0)
    found = outputs(lake / "predictions")
    assert found[0] == "%2Ein/a b.csv.parquet"
    assert found[1] == "%2Ein/caf%E9.csv.parquet"
    assert len(found[2]) <= len("%2Ein/") + 240 and found[2].startswith("%2Ein/xxx")
    assert counts(run_score(lake, tmp_path / ".in")) == (99, 0, 3, 0)


def test_partitions_are_columns_and_the_outputs_open_as_one_data_set(lake: Path, write: Write, tmp_path: Path) -> None:
    for day in ("2024-01-01", "2024-01-02"):
        write(f"in/day={day}/p.parquet", text=["good"], n=[1])
    run_score(lake, tmp_path / "in")
    table = pq.read_table(lake / "predictions" / "in")
    assert table.column_names == ["text", "n", "day", *ADDED]
    assert sorted(table["day"].to_pylist()) == ["2024-01-01", "2024-01-02"]
    write("in/day=2024-01-03/p.parquet", text=["good"], n=[1])
    assert counts(run_score(lake, tmp_path / "in")) == (0, 1, 2, 0)


def test_a_pattern_a_list_and_the_folder_name_the_same_outputs(
    lake: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("in/a.parquet", text=["good"])
    write("in/b.parquet", text=["bad"])
    write("in/sub/a.parquet", text=["dull"])
    assert counts(run_score(lake, tmp_path / "in/*.parquet")) == (0, 2, 0, 0)
    assert counts(run_score(lake, tmp_path / "in/a.parquet", tmp_path / "in/b.parquet")) == (99, 0, 2, 0)
    assert counts(run_score(lake, tmp_path / "in")) == (0, 1, 2, 0)
    assert counts(run_score(lake, tmp_path / "in", tmp_path / "in/sub")) == (99, 0, 3, 0)
    assert counts(run_score(lake, tmp_path / "in/*/a.parquet")) == (99, 0, 1, 0)
    monkeypatch.chdir(tmp_path / "in")
    assert counts(run_score(lake, "*.parquet")) == (99, 0, 2, 0)
    assert outputs(lake / "predictions") == ["in/a.parquet", "in/b.parquet", "in/sub/a.parquet"]


def test_lists_of_folders_have_a_folder_each(lake: Path, write: Write, tmp_path: Path) -> None:
    write("a/day.parquet", text=["good"])
    write("b/day.parquet", text=["bad"])
    receipt = run_score(lake, tmp_path / "a/day.parquet", tmp_path / "b/day.parquet")
    assert receipt.outputs["predictions"] == str(lake / "predictions")
    assert outputs(lake / "predictions") == ["a/day.parquet", "b/day.parquet"]
    assert [told["output"] for told in receipt.metrics["inputs"]["listed"]] == ["a/day.parquet", "b/day.parquet"]


def test_folders_of_one_name_are_told_apart(lake: Path, write: Write, tmp_path: Path) -> None:
    write("one/in/a.parquet", text=["good"])
    write("two/in/a.parquet", text=["bad"])
    with pytest.raises(UsageError, match=r"have the same name.*--output DIR/, or pass the folder above both"):
        run_score(lake, tmp_path / "one/in", tmp_path / "two/in")
    run_score(lake, tmp_path / "one/in")
    with pytest.raises(UsageError, match=r"contains the predictions of .*/one/in/a\.parquet.*--output"):
        run_score(lake, tmp_path / "two/in")
    assert texts(lake / "predictions/in/a.parquet") == ["good"]
    assert counts(run_score(lake, tmp_path / "two/in", output=f"{tmp_path}/elsewhere/")) == (0, 1, 0, 0)
    assert outputs(tmp_path / "elsewhere") == ["in/a.parquet"]
    assert counts(run_score(lake, tmp_path / "[ot][nw][eo]/in")) == (0, 2, 0, 0)


def test_predictions_of_a_folder_by_an_earlier_release_stay(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"])
    write("in.parquet/b.parquet", text=["bad"])
    (lake / "predictions").mkdir()
    for name in ("in", "in.parquet"):
        scored(lake, tmp_path / name, output=lake / "predictions" / f"{name}.parquet")
        assert counts(run_score(lake, tmp_path / name)) == (0, 1, 0, 0)
    assert outputs(lake / "predictions") == [
        "in%2Eparquet/b.parquet",
        "in.parquet",
        "in.parquet.parquet",
        "in/a.parquet",
    ]
    assert texts(lake / "predictions/in.parquet") == ["good"]


def test_outputs_elsewhere(lake: Path, write: Write, tmp_path: Path) -> None:
    path = write("in/a.parquet", text=["good"])
    there = tmp_path / "there"
    assert counts(run_score(lake, tmp_path / "in", output=f"{there}/")) == (0, 1, 0, 0)
    assert counts(run_score(lake, tmp_path / "in", output=str(there))) == (99, 0, 1, 0)
    assert outputs(there) == ["in/a.parquet"]
    assert run_score(lake, path, output=f"{there}/").outputs["predictions"] == str(there / "a.parquet")
    assert not outputs(lake / "predictions")
    write("there/in/b.parquet", n=[1])
    write("in/b.parquet", text=["bad"])
    with pytest.raises(UsageError, match=r"was not written by 'pipeline score'\..*Choose another --output, or use --force"):
        run_score(lake, tmp_path / "in", output=f"{there}/")
    assert counts(run_score(lake, tmp_path / "in", output=f"{there}/", force=True)) == (0, 2, 0, 0)


def test_the_input_is_never_written_to(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"])
    before = (tmp_path / "in/a.parquet").read_bytes()
    given = [(tmp_path / "in",), (tmp_path / "in/*",), (tmp_path / "in/a.parquet", tmp_path / "in/b.csv")]
    (tmp_path / "in/b.csv").write_text("text\ngood\n")
    for sources in given:
        with pytest.raises(UsageError, match="never changes"):
            run_score(lake, *sources, output=f"{tmp_path}/", force=True)
    for output in (tmp_path / "in", tmp_path / "in" / "deeper"):
        with pytest.raises(UsageError, match="never changes"):
            run_score(lake, tmp_path / "in", output=f"{output}/", force=True)
    (tmp_path / "link").mkdir()
    (tmp_path / "link/a.parquet").symlink_to(tmp_path / "in/a.parquet")
    (tmp_path / "there/link").mkdir(parents=True)
    (tmp_path / "there/link/a.parquet").hardlink_to(tmp_path / "in/a.parquet")
    with pytest.raises(UsageError, match="never changes"):
        run_score(lake, tmp_path / "link", output=f"{tmp_path}/there/", force=True)
    assert (tmp_path / "in/a.parquet").read_bytes() == before
    assert outputs(tmp_path / "in") == ["a.parquet", "b.csv"]


def stopping_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A signal comes in the middle of the input with that number, counted from 0."""
    write_rows, seen = score.write_rows, []

    def writing(*arguments: Any) -> Any:
        figures = write_rows(*arguments)
        seen.append(figures)
        if len(seen) == number + 1:
            raise StoppedError(15)
        return figures

    monkeypatch.setattr(score, "write_rows", writing)


def test_a_stopped_run_leaves_what_is_finished_and_the_next_goes_on(
    lake: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcd":
        write(f"in/{name}.parquet", text=[name, "good"])
    with monkeypatch.context() as patched:
        stopping_at(patched, 2)
        with pytest.raises(StoppedError):
            run_score(lake, tmp_path / "in")
    assert outputs(lake / "predictions" / "in") == ["a.parquet", "b.parquet"]
    (record,) = [json.loads(path.read_text()) for path in (lake / "runs").glob("*.json")]
    assert (record["outcome"], record["receipt"]["written"], record["receipt"]["read"]) == ("stopped", 4, 4)
    assert record["receipt"]["metrics"]["inputs"]["scored"] == 2
    assert counts(run_score(lake, tmp_path / "in")) == (0, 2, 2, 0)


def test_what_a_killed_run_left_goes_with_the_next(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/sub/a.parquet", text=["good"])
    run_score(lake, tmp_path / "in")
    left = lake / "predictions" / "in" / "sub" / ".tmp-0a1b2c3d-b.parquet"
    left.write_bytes(b"half")
    assert [leftover.path for leftover in find_leftovers(Lake(lake))] == [left]
    run_score(lake, tmp_path / "in")
    assert not left.exists()
    assert not list((lake / "predictions").rglob(".*.lock"))


def test_notes_save_time_only(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"])
    write("in/b.parquet", text=["bad"])
    run_score(lake, tmp_path / "in")
    (note,) = (lake / "predictions" / ".notes").glob("*.inputs")
    whole = note.read_text()
    for content in (
        "",
        whole[: len(whole) // 2],
        "[]\n{}\nnull\n" + whole[20:],
        whole.replace('"rows": 1', '"rows": "?"')[:-9],
    ):
        note.write_text(content)
        assert counts(run_score(lake, tmp_path / "in")) == (99, 0, 2, 0)
    note.unlink()
    assert counts(run_score(lake, tmp_path / "in")) == (99, 0, 2, 0)
    (lake / "predictions" / "in" / "a.parquet").unlink()
    assert counts(run_score(lake, tmp_path / "in")) == (0, 1, 1, 0)
    for _ in range(2):
        (lake / "predictions" / "in" / "a.parquet").write_bytes(b"damaged")
        assert counts(run_score(lake, tmp_path / "in")) == (0, 1, 1, 0)
    assert texts(lake / "predictions" / "in" / "a.parquet") == ["good"]


def test_damage_that_leaves_no_trace_is_found_by_doctor_whose_remedy_works(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"])
    run_score(lake, tmp_path / "in")
    output = lake / "predictions" / "in" / "a.parquet"
    whole = output.read_bytes()
    output.write_bytes(whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
    (check,) = [check for check in lake_checks(Lake(lake), verify=True) if check.state == "FAIL"]
    assert (check.name, check.remedy) == ("predictions", "Delete it, and score its input again.")
    output.unlink()
    run_score(lake, tmp_path / "in")
    assert output.read_bytes() == whole


def test_one_run_at_a_time_scores_a_folder(lake: Path, write: Write, tmp_path: Path) -> None:
    write("in/a.parquet", text=["good"])
    write("other/a.parquet", text=["good"])
    with locked_output(lake / "predictions" / "in", "scoring to in"):
        with pytest.raises(LockedError, match="is locked by another run"):
            run_score(lake, tmp_path / "in")
        assert counts(run_score(lake, tmp_path / "other")) == (0, 1, 0, 0)


def test_files_without_rows_have_outputs_without_rows(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/b.csv").write_bytes(b"")
    (tmp_path / "in/c.csv").write_bytes(b"text\n")
    assert counts(run_score(lake, tmp_path / "in")) == (0, 2, 0, 0)
    assert [texts(lake / "predictions/in" / "c.csv.parquet")] == [[]]
    assert counts(run_score(lake, tmp_path / "in")) == (99, 0, 2, 0)


def test_a_text_that_cannot_be_opened_is_left_out_of_its_folder(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("good")
    (tmp_path / "in/b.txt").symlink_to(tmp_path / "nowhere")
    receipt = run_score(lake, tmp_path / "in")
    assert (receipt.exit_code, receipt.written, receipt.quarantined) == (0, 1, 1)


def test_a_link_to_itself_is_left_out_of_its_folder(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("text\ngood\n")
    (tmp_path / "in/b.csv").symlink_to("b.csv")
    receipt = run_score(lake, tmp_path / "in")
    assert (receipt.exit_code, receipt.written, receipt.quarantined) == (0, 1, 1)


def test_the_receipt_lists_a_bounded_number_of_inputs(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_each, "LISTED", 3)
    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / "in" / f"{number}.csv").write_text("text\ngood\n")
    receipt = run_score(lake, tmp_path / "in")
    assert counts(receipt) == (0, 5, 0, 0)
    assert len(receipt.metrics["inputs"]["listed"]) == 3


def test_lists_of_films_are_no_reviews(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "test" / "pos").mkdir(parents=True)
    (tmp_path / "in" / "test" / "pos" / "0_9.txt").write_text("good film")
    (tmp_path / "in" / "test" / "urls_pos.txt").write_text("http://film/1/\n")
    assert counts(run_score(lake, tmp_path / "in" / "test")) == (0, 1, 0, 0)
    assert outputs(lake / "predictions" / "test") == ["pos/reviews.txt.parquet"]
