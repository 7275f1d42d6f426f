"""The lines that a person gets, from the figures of a step and of the night before."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.night.attention import KEPT, attention, unknown_share, unknown_tokens
from jobs.night.history import History
from jobs.night.step import Step
from pipeline.lake.paths import Lake
from tests.support.commands import Run
from tests.support.fork_server import forked_pipeline

LOG = "/lake/logs/1.log"


def step(command: str = "train", exit_code: int = 0, **figures: Any) -> Step:
    return Step(command=command, run_id=None, exit_code=exit_code, seconds=1.0, **figures)


def promotion(reason: str, decision: str = "not promoted", **figures: Any) -> Step:
    found = {"decision": decision, "reason": reason, "rows": 1200, "challenger_accuracy": 0.912, "live_accuracy": 0.934}
    return step(outputs={"model_id": "rnn-2"}, metrics={"promotion": {**found, **figures}})


def lines(now: Step, before: Step | None = None) -> list[str]:
    return attention(now, before, LOG)


def test_a_model_that_is_not_promoted_comes_with_figures_and_the_command() -> None:
    assert lines(promotion("worse")) == [
        "train: rnn-2 was not promoted: it is worse than the live model (new model 91.2%, live model 93.4% on 1,200 "
        "held-out reviews). Check the newest delivery; 'pipeline retract latest' takes it back. To promote the model all "
        "the same: pipeline models promote rnn-2"
    ]
    figures = {"rows": 0, "challenger_accuracy": None, "live_accuracy": None}
    assert lines(promotion("not finite", **figures)) == [
        "train: rnn-2 was not promoted: its loss is not finite. To promote it: pipeline models promote rnn-2"
    ]


@pytest.mark.parametrize("reason", ["first", "always", "not worse"])
def test_a_model_that_is_promoted_is_no_news(reason: str) -> None:
    assert lines(promotion(reason, decision="promoted")) == []


@pytest.mark.parametrize("reason", ["never", "already live"])
def test_what_somebody_has_decided_is_no_news(reason: str) -> None:
    assert lines(promotion(reason)) == []


def test_the_same_model_is_said_once() -> None:
    assert lines(promotion("worse"), promotion("worse")) == []


def test_drift_names_what_is_past_its_threshold() -> None:
    drift = {"measured": True, "drifted": True, "psi": {"length": 0.31, "unknown": 0.02}, "over": ["length", "odd"]}
    assert lines(step("score", metrics={"drift": drift})) == [
        "score: the input drifted from the training data (population stability index: length 0.31, odd). Check the "
        f"files scored last; what differs is in the log: {LOG}"
    ]
    files = {"total": 4, "listed": [f"incoming/{number}.csv" for number in range(4)]}
    (line,) = lines(step("score", metrics={"drift": drift, "drift_files": files}))
    assert "Check incoming/0.csv, incoming/1.csv, incoming/2.csv and 1 more; what differs is in the log: " in line
    assert lines(step("score", metrics={"drift": {**drift, "drifted": False}})) == []
    assert lines(step("score", metrics={"drift": None})) == []


def test_of_rejected_rows_those_are_listed_that_the_night_before_had_not() -> None:
    before = step("ingest", rejected=302, metrics={"rejects": {"unmapped": 290, "missing_text": 12}})
    rejects = {"unmapped": 290, "missing_text": 13, "malformed_row": 1}
    assert lines(step("ingest", rejected=304, metrics={"rejects": rejects}), before) == [
        f"ingest: 304 rows rejected (302 the night before): 1 more missing_text, 1 more malformed_row. Log: {LOG}"
    ]
    assert lines(step("ingest", rejected=290, metrics={"rejects": {"unmapped": 290}}), before) == [
        f"ingest: 290 rows rejected (302 the night before): 290 unmapped. Log: {LOG}"
    ]


def test_a_share_of_unknown_tokens_past_the_limit_is_said_until_it_was_said() -> None:
    now = step("ingest")
    (line,) = unknown_tokens(0.071, 0.05, now, None, KEPT)
    assert line.startswith(
        "ingest: the vocabulary lacks 7.1% of the table's tokens, the limit is 5.0%; 'pipeline ingest --reb"
    )
    before = step("ingest", metrics={"unknown_share_table": 0.06})
    assert unknown_share(before) == 0.06
    assert unknown_tokens(0.071, 0.05, now, before, KEPT) == []
    assert unknown_tokens(0.071, 0.05, now, step("ingest", metrics={"unknown_share_table": 0.04}), KEPT)
    new = step("ingest", metrics={"new_files": {"total": 5, "listed": [f"raw/{day}.csv" for day in range(5)]}})
    (line,) = unknown_tokens(0.071, 0.05, new, None, KEPT)
    assert "of the table's tokens (new: raw/0.csv, raw/1.csv, raw/2.csv and 2 more), the limit" in line


def rejected(*files: tuple[str, int], digest: str, **reasons: int) -> Step:
    listed = [{"file": name, "rows": rows} for name, rows in files]
    figures = {"rejects": reasons, "rejects_digest": digest, "rejects_files": {"total": len(files), "listed": listed}}
    return step("ingest", rejected=sum(reasons.values()), metrics=figures)


def test_the_files_with_rejected_rows_are_those_that_the_night_before_had_not() -> None:
    before = rejected(("raw/a.csv", 3), ("raw/b.csv", 1), digest="1", unmapped=4)
    now = rejected(("raw/a.csv", 3), ("raw/b.csv", 2), ("raw/c.csv", 2), digest="2", unmapped=7)
    assert lines(now, before) == [
        f"ingest: 7 rows rejected (4 the night before): 3 more unmapped, in raw/b.csv, raw/c.csv. Log: {LOG}"
    ]
    assert lines(before) == [f"ingest: 4 rows rejected: 4 unmapped, in raw/a.csv, raw/b.csv. Log: {LOG}"]
    many = rejected(*((f"raw/{day}.csv", 1) for day in range(9)), digest="3", unmapped=9)
    assert "in raw/0.csv, raw/1.csv, raw/2.csv and 6 more. " in lines(many)[0]


def test_rows_that_an_option_leaves_out_are_no_news() -> None:
    chosen = step("ingest", rejected=250, metrics={"rejects": {"skipped_label": 250}, "rejects_digest": None})
    assert lines(chosen) == []
    before = rejected(("raw/a.csv", 3), digest="1", unmapped=3, skipped_label=10)
    assert lines(rejected(("raw/a.csv", 3), digest="1", unmapped=3, skipped_label=20), before) == []
    assert lines(before) == [f"ingest: 3 rows rejected: 3 unmapped, in raw/a.csv. Log: {LOG}"]


def test_unknown_tokens_of_the_input_are_said_once_with_the_files() -> None:
    metrics = {"unknown_share": 0.123, "unknown_files": {"total": 4, "listed": [f"incoming/{n}.csv" for n in range(4)]}}
    now = step("score", metrics=metrics)
    assert lines(now) == [
        "score: 12.3% of the tokens are unknown to the model, more than unknown-warn allows: see incoming/0.csv, "
        "incoming/1.csv, incoming/2.csv and 1 more. Ingest reviews like these with 'pipeline ingest --rebuild-vocab', then "
        "train again"
    ]
    assert lines(now, now) == []
    assert lines(step("score", metrics={"unknown_share": 0.01})) == []


def test_warnings_without_a_brief_form_are_counted() -> None:
    now = step(warnings=("a", "b", "c", "d"), briefs={"a": "brief a", "b": ""})
    assert lines(now) == ["train: warning: brief a", f"train: 2 new warnings in the log: {LOG}"]
    assert lines(now, step(warnings=("a", "c"), briefs={"a": "brief a"})) == [f"train: 1 new warning in the log: {LOG}"]


def test_classes_that_the_table_has_got_are_counted() -> None:
    before = step("ingest", metrics={"labels": ["neg", "pos"]})
    now = step("ingest", metrics={"labels": ["neg", "neutral", "pos"]})
    assert lines(now, before) == ["ingest: the table has 3 classes now, 2 the night before"]
    assert lines(now, now) == []


def test_a_death_without_a_word_names_the_signal(tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw").mkdir()
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr("jobs.night.step.COMMAND", (forked_pipeline()[0], "-c", killed))
    done = command("--lake", tmp_path, "nightly")
    assert done.code == 137
    assert done.stderr.startswith("ingest: failed with exit code 137: it was killed, as when memory runs out. Log: ")


@pytest.fixture
def much_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest measures that a fifth of the tokens is unknown, until the vocabulary is rebuilt."""
    monkeypatch.setattr("jobs.nightly.unknown_share", lambda step: 0.2 if step is not None else None)
    monkeypatch.setattr("jobs.night.step.COMMAND", forked_pipeline())


@pytest.mark.slow
@pytest.mark.usefixtures("much_unknown")
def test_the_vocabulary_is_rebuilt_past_the_limit_if_the_sources_hold_every_review(tmp_path: Path, command: Run) -> None:
    (tmp_path / "raw").mkdir()
    review = tmp_path / "raw" / "one.csv"
    review.write_text("text,label\ngood film,pos\nbad film,neg\n")
    night = ("--lake", tmp_path, "nightly", "--retrain", "never")
    kept = command(*night)
    assert [found["command"] for found in kept.receipt["metrics"]["steps"]] == ["ingest"]
    assert kept.stderr.startswith("ingest: the vocabulary lacks 20.0% of the table's tokens")
    (tmp_path / "raw" / "two.csv").write_text("text,label\nanother word,pos\nmore words,neg\n")
    rebuilt = command(*night, "--vocabulary", "rebuild")
    _, again = rebuilt.receipt["metrics"]["steps"]
    assert (again["command"], again["exit_code"], again["written"], rebuilt.stderr) == ("ingest", 0, 4, "")
    review.unlink()
    refused = command(*night, "--vocabulary", "rebuild")
    assert refused.code == 65
    first, second = refused.stderr.splitlines()
    assert first.startswith("ingest: failed with exit code 65: --rebuild-vocab: the table contains reviews that are not in")
    assert "Pass all sources" in first
    assert second.endswith("the limit is 5.0%; it could not be rebuilt, see above")


@pytest.mark.slow
@pytest.mark.usefixtures("much_unknown")
def test_a_vocabulary_is_not_rebuilt_again_and_again(tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "one.csv").write_text("text,label\ngood film,pos\nbad film,neg\n")
    night = ("--lake", tmp_path, "nightly", "--retrain", "never", "--vocabulary", "rebuild")
    assert [found["command"] for found in command(*night).receipt["metrics"]["steps"]] == ["ingest", "ingest"]
    monkeypatch.setattr("jobs.night.history.History.rebuilt_share", lambda self: 0.19)
    again = command(*night)
    assert [found["command"] for found in again.receipt["metrics"]["steps"]] == ["ingest"]
    monkeypatch.setattr("jobs.night.history.History.rebuilt_share", lambda self: 0.15)
    assert [found["command"] for found in command(*night).receipt["metrics"]["steps"]] == ["ingest", "ingest"]


@pytest.mark.slow
@pytest.mark.usefixtures("much_unknown")
def test_a_rebuilt_vocabulary_is_trained_on_whatever_the_policy(tmp_path: Path, command: Run) -> None:
    (tmp_path / "raw").mkdir()
    lines = [f"a fine film {n},pos\na dull film {n},neg\n" for n in range(20)]
    (tmp_path / "raw" / "one.csv").write_text("text,label\n" + "".join(lines))
    night = ("--lake", tmp_path, "nightly", "--train-options", "--arch nbsvm", "--retrain", "days:30")
    assert [found["command"] for found in command(*night).receipt["metrics"]["steps"]] == ["ingest", "train"]
    (tmp_path / "raw" / "two.csv").write_text("text,label\nanother word,pos\nmore words,neg\n")
    assert [found["command"] for found in command(*night).receipt["metrics"]["steps"]] == ["ingest"]
    found = command(*night, "--vocabulary", "rebuild").receipt["metrics"]["steps"]
    assert [(step["command"], step["exit_code"]) for step in found] == [("ingest", 99), ("ingest", 0), ("train", 0)]


def test_what_a_rebuild_has_left_is_read_from_its_record(tmp_path: Path, command: Run) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "one.csv").write_text("text,label\ngood film,pos\nbad film,neg\n")
    assert command("--lake", tmp_path, "ingest").code == 0
    assert History(Lake(tmp_path), "z").rebuilt_share() is None
    assert command("--lake", tmp_path, "ingest", "--rebuild-vocab", "--min-count", 2).code == 0
    path = max((tmp_path / "runs").glob("*-ingest-*.json"))
    record = json.loads(path.read_text())
    record["receipt"]["metrics"]["unknown_share_table"] = 0.07
    path.write_text(json.dumps(record))
    assert History(Lake(tmp_path), "z").rebuilt_share() == 0.07
