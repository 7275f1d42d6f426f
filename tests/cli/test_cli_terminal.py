"""What a person at a real terminal reads at the end of each command, and what scripts read instead."""

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli.summary import Summary
from tests.support.fork_server import forked_pipeline, forked_python
from tests.support.terminal import Shown, run_in_terminal

Terminal = Callable[..., Shown]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """Runs `pipeline` on a terminal, in a folder with the lake `lake`."""
    folder = tmp_path_factory.mktemp("terminal")

    def run(*arguments: object, columns: int = 80, typed: bytes = b"") -> Shown:
        return run_in_terminal([*forked_pipeline(), *arguments], columns, cwd=folder, typed=typed, PIPELINE_LAKE="lake")

    run.folder = folder  # type: ignore[attr-defined]
    return run


@pytest.fixture(scope="module")
def screens(terminal: Terminal) -> dict[str, Shown]:
    """A first day: what each command shows, in the order of the work."""
    folder: Path = terminal.folder  # type: ignore[attr-defined]
    found = {"sample": terminal("sample", "--reviews", 120, "--test-reviews", 60, "--unsup", 0)}
    (folder / "bad.csv").write_text("text,label\n,pos\nA fine film,pos\nA dull film,neg\n")
    found["ingest"] = terminal("ingest", "lake/raw", "bad.csv")
    found["again"] = terminal("ingest", "lake/raw", "bad.csv")
    found["train"] = terminal("train", "--arch", "nbsvm")
    pq.write_table(pa.table({"text": ["A fine film", "", "A dull film"]}), folder / "new.parquet")
    found["score"] = terminal("score", "new.parquet")
    return found


def test_every_command_ends_with_what_it_did_and_what_comes_next(screens: dict[str, Shown]) -> None:
    assert [shown.code for shown in screens.values()] == [0, 0, 99, 0, 0]
    assert "Wrote 180 synthetic reviews in" in screens["sample"].text
    assert screens["sample"].text.endswith("Next: pipeline ingest\n")
    ingested = screens["ingest"].text
    assert "Ingested 182 reviews in" in ingested and "183 rows: 182 written" in ingested
    assert "1 row: 1 missing_text" in ingested and "lake/rejects/" in ingested
    assert ingested.endswith("Next: pipeline train\n")
    assert "Nothing new: 182 reviews already known." in screens["again"].text
    trained = screens["train"].text
    assert "on the test split" in trained and "50.0% by always predicting the most frequent label" in trained
    assert "/report.html" in trained and trained.endswith("Next: pipeline score FILE\n")
    scored = screens["score"].text
    assert "Scored 3 reviews in" in scored and "unscored  1 no_text" in scored
    assert "lake/predictions/new.parquet" in scored


def test_nothing_runs_over_80_columns_and_no_json_is_shown(screens: dict[str, Shown]) -> None:
    for name, shown in screens.items():
        last = shown.text.rpartition("\n\n")[2].splitlines()
        assert max(map(len, last)) <= 80, name
        assert '{"run_id"' not in shown.text, name


def test_json_is_for_whoever_asks_and_quiet_shows_nothing(screens: dict[str, Shown], terminal: Terminal) -> None:
    asked = terminal("ingest", "lake/raw", "--json")
    assert (asked.code, json.loads(asked.text.splitlines()[-1])["known"]) == (99, 180)
    assert terminal("--quiet", "ingest", "lake/raw").text == ""


def test_the_summary_of_data_on_stdout_stays_out_of_it(screens: dict[str, Shown], terminal: Terminal) -> None:
    folder: Path = terminal.folder  # type: ignore[attr-defined]
    command = f"{shlex.join(forked_pipeline())} score new.parquet --output - > rows.jsonl"
    shown = run_in_terminal(["sh", "-c", command], cwd=folder, PIPELINE_LAKE="lake")
    assert "Scored 3 reviews" in shown.text
    assert len([json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]) == 3


@pytest.mark.slow
def test_the_other_commands(screens: dict[str, Shown], terminal: Terminal) -> None:
    expected = {
        ("evaluate",): ("accuracy", "95% interval", "accuracy by always predicting"),
        ("report", "--predictions", "lake/predictions/new.parquet"): ("Wrote the report of nbsvm-", "report.html"),
        ("export", "--output", "model.onnx"): ("to ONNX", "verified", "model.onnx"),
        ("crossval", "--arch", "nbsvm", "--folds", "2"): ("Trained 2 folds", "±"),
        ("repair",): ("Nothing to repair",),
        ("vacuum",): ("Nothing to delete.",),
        ("doctor",): ("checks",),
        ("runs",): ("nothing-new",),
        ("models",): ("LATEST",),
    }
    for arguments, words in expected.items():
        shown = terminal(*arguments)
        assert shown.code in (0, 99), shown.text
        assert all(word in shown.text for word in words), (arguments, shown.text)


def test_verbose_says_where_options_come_from(screens: dict[str, Shown], terminal: Terminal) -> None:
    said = terminal("--verbose", "ingest", "lake/raw", "--workers", 1).text
    assert "DEBUG workers = 1, from the command line" in said and " starts in " in said
    assert terminal("-v", "-q", "ingest").code == 2


def test_without_a_command_the_help_is_shown(terminal: Terminal) -> None:
    shown = terminal()
    assert shown.code == 0 and shown.text.startswith("Usage: pipeline [OPTIONS] COMMAND")
    assert max(map(len, shown.text.splitlines())) <= 80
    assert "…" not in shown.text and "..." not in shown.text.partition("Commands:")[2]


def test_inspect_keeps_words_whole_on_a_narrow_terminal(screens: dict[str, Shown], terminal: Terminal) -> None:
    shown = terminal("inspect", "bad.csv", columns=40)
    assert shown.code == 0
    words = shown.text.split()
    assert {"delimiter", "encoding", "rejects", "distinct", "example", "comma", "utf-8"} <= set(words)


def test_a_vocabulary_is_shown_without_brackets(screens: dict[str, Shown], terminal: Terminal) -> None:
    shown = terminal("vocab", "--top", 3).text
    facts = dict(line.split(maxsplit=1) for line in shown.splitlines()[:5])
    assert facts["labels"] == "neg, pos" and facts["options"].startswith("max_vocab 30000, min_count 1")
    assert terminal("vocab", "--top", "-1").text.endswith("--top -1: expected 0 or more.\n")
    assert "'x' is not a whole number." in terminal("vocab", "--top", "x").text


def test_an_error_breaks_between_words(screens: dict[str, Shown], terminal: Terminal) -> None:
    shown = terminal("score", "new.parquet", "--model", "nbsvn", columns=60)
    assert shown.code == 66
    lines = shown.text.splitlines()
    assert lines[0] == "pipeline: --model: 'nbsvn' is not known. Known: LATEST,"
    assert max(map(len, lines)) <= 60 and " ".join(lines).endswith("A path to a bundle's folder also works.")


def test_labels_with_control_characters_are_escaped_in_names_too() -> None:
    summary = Summary("Evaluated.")
    summary.add("a\nb\u202e", "F1 1.0000")
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in summary.lines()[2:]] == [r"a\nb\u202e  F1 1.0000"]


def test_a_lake_of_one_label_says_what_train_needs(terminal: Terminal) -> None:
    folder: Path = terminal.folder  # type: ignore[attr-defined]
    (folder / "one.csv").write_text("text,label\nA fine film,pos\nA good film,pos\n")
    shown = terminal("ingest", "one.csv", "--lake", "one")
    assert shown.code == 0 and "needs labelled reviews of two classes or more" in shown.text
    assert "Next:" not in shown.text


def test_who_types_reviews_learns_how_to_end(screens: dict[str, Shown], terminal: Terminal) -> None:
    folder: Path = terminal.folder  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "pipeline", "score", "-"]
    shown = run_in_terminal(command, cwd=folder, PIPELINE_LAKE="lake", typed=b"A fine film\n\x04")
    assert shown.code == 0 and "reading from the terminal; end with Ctrl-D" in shown.text
    assert '"text": "A fine film"' in shown.text and "Scored 1 review in" in shown.text


def test_a_night_shows_its_steps_and_ends_with_what_a_person_must_know(terminal: Terminal) -> None:
    folder: Path = terminal.folder  # type: ignore[attr-defined]
    (folder / "night" / "raw").mkdir(parents=True)
    lines = [f"a fine film {n},pos\na dull film {n},neg\n" for n in range(30)]
    (folder / "night" / "raw" / "reviews.csv").write_text("text,label\n" + "".join(lines) + "one,two,three\n")
    forked = f"import jobs.night.step, sys; jobs.night.step.COMMAND = {forked_pipeline()!r}; "
    words = ["pipeline", "--lake", "night", "nightly", "--train-options", "--arch nbsvm"]
    code = f"{forked} sys.argv = {words!r}; from pipeline.cli.app import main; main()"
    shown = run_in_terminal([*forked_python(), code], 80, cwd=folder)
    assert shown.code == 0
    steps = [line for line in shown.text.splitlines() if line.startswith(("ingest ", "train "))]
    assert steps[0] == "ingest starts" and steps[1].startswith("ingest ended with 0 in ")
    summary = shown.text.partition("The night is done, after ")[2]
    assert re.search(r"^ +ingest +60 written, 1 rejected$", summary, re.MULTILINE)
    assert re.search(r"^ +train +done$", summary, re.MULTILINE)
    assert "attention ingest: 1 row rejected: 1 malformed_row, in raw/reviews.csv" in " ".join(summary.split())
    assert "⠋" not in shown.text, "the spinner has gone"
    again = run_in_terminal([*forked_python(), code.replace("'nightly'", "'nightly', '--json'")], 80, cwd=folder)
    assert again.code == 99
    assert json.loads(again.raw[again.raw.index(b"{") :])["command"] == "nightly"


@pytest.mark.slow
def test_taking_back_and_erasing_on_a_terminal(terminal: Terminal, screens: dict[str, Shown]) -> None:
    folder: Path = terminal.folder  # type: ignore[attr-defined]
    (folder / "flipped.csv").write_text("text,label\nA fine film,neg\nA dull film,pos\n")
    assert terminal("ingest", "flipped.csv").code == 0
    planned = terminal("retract", "latest", "--dry-run").text
    assert "Would retract 2" in planned and "removed  2 reviews" in planned and "none saw them" in planned
    done = terminal("retract", "latest")
    assert done.code == 0 and "Retracted 2" in done.text and "version 2" in done.text
    assert "Nothing to retract" in terminal("retract", "latest").text
    assert "2 retracted" in terminal("ingest", "flipped.csv").text
    lifted = terminal("retract", "latest", "--undo").text
    assert "is no longer retracted." in lifted and lifted.endswith("Next: pipeline ingest\n")
    (review_id,) = (f"{(folder / 'bad.csv').as_uri()}#1",)
    kept = terminal("erase", "--review-id", review_id, typed=b"n\n")
    assert kept.code == 99 and "Would erase 1 review." in kept.text and kept.text.endswith("Nothing was erased.\n")
    gone = terminal("erase", "--review-id", review_id, typed=b"y\n")
    assert gone.code == 0 and "Erased 1 review." in gone.text and "bad.csv still has row 1" in gone.text
    again = terminal("erase", "--review-id", review_id)
    assert again.code == 99 and "holds nothing of these reviews" in again.text
