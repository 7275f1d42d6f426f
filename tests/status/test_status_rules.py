"""What needs a person, by the records that runs leave behind."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.lake.paths import Lake
from pipeline.status.facts import Limits
from pipeline.status.status import Status, look
from schemas.status import KINDS
from tests.support.nights import NOW, add_model, add_run, drift, go_live, lake_of_nights, promotion

LAST = NOW - timedelta(hours=5)
BEFORE = LAST - timedelta(days=1)
MODEL = "bilstm-20260201T020000Z-aaaaaa"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake whose last two nights went well, command by command, and whose model is live since long ago."""
    lake = Lake(tmp_path.resolve())
    add_model(lake, MODEL)
    go_live(lake, MODEL, NOW - timedelta(days=28))
    for night in (BEFORE, LAST):
        for hour, command in enumerate(("ingest", "train", "score")):
            add_run(lake, command, night - timedelta(hours=3 - hour), read=10, written=10)
    return lake


def looked(lake: Lake, **limits: Any) -> Status:
    return look(lake, Limits(**{"min_free": 0, **limits}), NOW)


def kinds(lake: Lake, **limits: Any) -> list[str]:
    found = looked(lake, **limits)
    found.document()  # which keeps its contract, or raises
    return [finding.kind for finding in found.found]


def test_nights_that_went_well_need_nobody(lake: Lake) -> None:
    assert kinds(lake) == []
    assert looked(lake).verdict == "All well: 10 reviews scored, 2026-03-01 01:31 UTC"
    add_run(lake, "score", LAST + timedelta(hours=1), 99)
    assert looked(lake).verdict.startswith("All well: 10 reviews ingested")


@pytest.mark.parametrize("command", ["ingest", "train", "score"])
def test_a_failure_needs_a_person_until_the_same_command_succeeds(lake: Lake, command: str) -> None:
    add_run(lake, command, LAST, 65, error="DataError: 7 of 100 rows are malformed. The first: secret")
    (finding,) = looked(lake).found
    assert finding.kind == "failed" and finding.command[:2] == ("runs", "show")
    assert finding.message == f"{command} failed with exit code 65, 2026-03-01 02:31 UTC: 7 of 100 rows are malformed"
    add_run(lake, command, LAST + timedelta(minutes=5), 99)
    assert kinds(lake) == []


@pytest.mark.parametrize("command", ["erase", "retract"])
def test_a_live_model_that_learned_from_withdrawn_reviews_needs_another(lake: Lake, command: str) -> None:
    run = {"run": "20260228T010000.000Z-ingest-1a2b3c", "undone": False} if command == "retract" else {}
    add_run(lake, command, LAST - timedelta(minutes=9), metrics={**run, "models": [MODEL], "dry_run": True})
    assert kinds(lake) == []
    add_run(lake, command, LAST - timedelta(minutes=8), metrics={**run, "models": [MODEL], "dry_run": False})
    for minute in range(5):
        add_run(lake, command, LAST - timedelta(minutes=minute), metrics={"models": [], "dry_run": False})
    (finding,) = looked(lake).found
    assert (finding.kind, finding.command) == ("withdrawn", ("train",))
    assert finding.message.startswith(
        f"the live model {MODEL} learned from reviews that were {command.rstrip('e')}ed, 2026-"
    )
    if command == "retract":
        add_run(lake, command, LAST + timedelta(minutes=1), metrics={**run, "undone": True, "dry_run": False})
        assert kinds(lake) == []
    else:
        other = MODEL.replace("aaaaaa", "bbbbbb")
        add_model(lake, other)
        go_live(lake, other, LAST)
        assert kinds(lake) == []


@pytest.mark.parametrize("code", [69, 75])
def test_what_the_next_try_may_clear_needs_a_person_only_when_repeated(lake: Lake, code: int) -> None:
    add_run(lake, "ingest", LAST, code, error="LockedError: busy")
    assert kinds(lake) == []
    add_run(lake, "ingest", LAST + timedelta(minutes=10), code, error="LockedError: busy")
    assert kinds(lake) == ["failed"]


@pytest.mark.parametrize(
    ("code", "days", "expected"), [(66, 0, ["failed"]), (66, 2, []), (143, 0, ["failed"]), (65, 2, ["failed"])]
)
def test_a_mistyped_name_is_forgotten_after_a_day(lake: Lake, code: int, days: int, expected: list[str]) -> None:
    for path in lake.runs.glob("*-score-*"):
        path.unlink()
    add_run(lake, "score", LAST - timedelta(days=days), code, error="InputNotFoundError: no such file")
    assert kinds(lake) == expected


def test_other_commands_may_fail(lake: Lake) -> None:
    add_run(lake, "export", LAST, 65, error="DataError: damaged")
    assert kinds(lake) == []


REJECTS = {"rejected": 12, "metrics": {"rejects": {"unknown_label": 9, "empty_text": 3}}}


def test_rejected_rows_are_reported_once(lake: Lake) -> None:
    same = {"outputs": {"rejects": str(lake.rejects / "0123.parquet")}}
    add_run(lake, "ingest", LAST, **REJECTS, **same)  # type: ignore[arg-type]
    (finding,) = looked(lake).found
    assert finding.kind == "rejected"
    assert finding.message == "12 rows rejected by ingest (9 unknown_label, 3 empty_text), 2026-03-01 02:31 UTC"
    add_run(lake, "ingest", LAST + timedelta(minutes=5), **REJECTS, **same)  # type: ignore[arg-type]
    assert kinds(lake) == []


@pytest.mark.parametrize("more", [1, 5])
def test_rejected_rows_are_not_forgotten_because_nothing_new_follows_within_a_day(lake: Lake, more: int) -> None:
    same = {"outputs": {"rejects": str(lake.rejects / "0123.parquet")}}
    add_run(lake, "ingest", LAST, **REJECTS, **same)  # type: ignore[arg-type]
    for minute in range(1, more + 1):
        add_run(lake, "ingest", LAST + timedelta(minutes=minute), 99, **REJECTS, **same)  # type: ignore[arg-type]
    (finding,) = looked(lake).found
    assert finding.message.startswith("12 rows rejected by ingest (9 unknown_label, 3 empty_text), 2026-03-01 02:3")
    add_run(lake, "ingest", LAST + timedelta(minutes=9), 99)
    assert kinds(lake) == [], "somebody has mended them"
    max(lake.runs.glob("*-ingest-*")).unlink()
    assert look(lake, Limits(min_free=0, max_age=0), NOW + timedelta(days=1)).found == [], "nights do not repeat it"


@pytest.mark.parametrize("command", ["ingest", "score", "train"])
def test_a_mistyped_command_is_not_the_state_of_the_job_and_hides_no_rejects(lake: Lake, command: str) -> None:
    add_run(lake, "ingest", LAST, **REJECTS)  # type: ignore[arg-type]
    for minute in range(1, 5):
        add_run(lake, command, LAST + timedelta(minutes=minute), 2, error="UsageError: --max-bad 7: too much")
    status = looked(lake)
    assert [finding.kind for finding in status.found] == ["rejected"]
    assert all(run["exit_code"] == 0 for run in status.document()["runs"])
    for day in range(1, 4):
        add_run(lake, command, LAST + timedelta(days=day), 2, error="UsageError: --max-bad 7: too much")
    later = look(lake, Limits(min_free=0), NOW + timedelta(days=3))
    assert "failed" in [finding.kind for finding in later.found], "a schedule that is wrong every night is no slip"


def test_a_file_that_is_not_there_hides_no_rejects(lake: Lake) -> None:
    add_run(lake, "ingest", LAST, **REJECTS)  # type: ignore[arg-type]
    add_run(lake, "ingest", LAST + timedelta(minutes=1), 66, error="InputNotFoundError: no such file")
    assert kinds(lake) == ["failed", "rejected"]


@pytest.mark.parametrize(
    ("rejects", "expected"),
    [
        ({"unknown_label": 9, "empty_text": 3}, ["rejected"]),  # as many, but others
        ({"unknown_label": 8, "empty_text": 3}, []),
        ({"unknown_label": 1, "malformed_row": 2}, ["rejected"]),
        ({}, []),
    ],
)
def test_other_rejects_than_those_of_the_run_before_are_reported(
    lake: Lake, rejects: dict[str, int], expected: list[str]
) -> None:
    add_run(lake, "ingest", LAST, **REJECTS, outputs={"rejects": str(lake.rejects / "a.parquet")})  # type: ignore[arg-type]
    outputs = {"rejects": str(lake.rejects / "b.parquet")} if rejects else {}
    later = LAST + timedelta(minutes=5)
    add_run(lake, "ingest", later, rejected=sum(rejects.values()), metrics={"rejects": rejects}, outputs=outputs)
    assert kinds(lake) == expected


def test_rows_that_an_option_leaves_out_are_not_reported(lake: Lake) -> None:
    add_run(lake, "ingest", LAST, rejected=70, metrics={"rejects": {"skipped_label": 70}, "rejects_digest": None})
    assert kinds(lake) == []
    files = {"total": 5, "listed": [{"file": f"raw/{day}.csv", "rows": 1} for day in range(5)]}
    mixed = {"rejects": {"skipped_label": 70, "unmapped": 5}, "rejects_digest": "0123", "rejects_files": files}
    outputs = {"rejects": str(lake.rejects / "a.parquet")}
    add_run(lake, "ingest", LAST + timedelta(minutes=1), rejected=75, metrics=mixed, outputs=outputs)
    (finding,) = looked(lake).found
    assert finding.message == (
        "5 rows rejected by ingest (5 unmapped) in raw/0.csv, raw/1.csv, raw/2.csv and 2 more, 2026-03-01 02:32 UTC"
    )
    assert finding.command[-1] == "--rejects"
    more = {**mixed, "rejects": {"skipped_label": 90, "unmapped": 5}}
    outputs = {"rejects": str(lake.rejects / "b.parquet")}
    add_run(lake, "ingest", LAST + timedelta(minutes=2), rejected=95, metrics=more, outputs=outputs)
    assert kinds(lake) == []


def test_files_that_drifted_or_have_unknown_tokens_are_named(lake: Lake) -> None:
    files = {"total": 2, "listed": ["incoming/a.csv", "incoming/b.csv"]}
    measured = {"drift": drift(True, 0.4, ("length",)), "drift_files": files}
    add_run(lake, "score", LAST, metrics=measured)
    assert "the reviews scored last (incoming/a.csv, incoming/b.csv) differ" in looked(lake).verdict
    unknown = {"unknown_share": 0.2, "tokens": 5000, "unknown_files": {"total": 1, "listed": ["incoming/a.csv"]}}
    add_run(lake, "score", LAST + timedelta(minutes=1), metrics=unknown)
    assert "20.0% of the tokens scored last (incoming/a.csv) are not in the vocabulary" in looked(lake).verdict
    new = {"unknown_share": 0.3, "tokens": 5000, "new_files": {"total": 1, "listed": ["raw/c.csv"]}}
    add_run(lake, "ingest", LAST + timedelta(minutes=2), metrics=new)
    assert "30.0% of the new tokens (raw/c.csv) are not in the vocabulary" in looked(lake).verdict


def test_skipped_files_are_reported_unless_the_run_before_skipped_as_many(lake: Lake) -> None:
    add_run(lake, "score", LAST, quarantined=1)
    assert kinds(lake) == ["quarantined"]
    add_run(lake, "score", LAST + timedelta(minutes=1), quarantined=1)
    assert kinds(lake) == []
    add_run(lake, "score", LAST + timedelta(minutes=2), quarantined=2)
    assert looked(lake).verdict == "Needs you: 2 files skipped by score, 2026-03-01 02:33 UTC"


def test_a_model_that_was_not_promoted_is_reported_until_a_person_chooses(lake: Lake) -> None:
    other = "bilstm-20260301T020000Z-bbbbbb"
    add_model(lake, other)
    decision = {"promotion": promotion("not promoted", "worse", message="It is worse. Do this.")}
    add_run(lake, "train", LAST, outputs={"model_id": other}, metrics=decision)
    (finding,) = looked(lake).found
    assert (finding.kind, finding.message) == ("not_promoted", f"{other} did not go live: It is worse")
    assert finding.command == ("report", "--compare", "LATEST", other)
    go_live(lake, other, LAST + timedelta(hours=1), "promoted")
    assert kinds(lake) == []


@pytest.mark.parametrize("act", ["promote", "retract", "retract another", "plan to retract", "nothing"])
def test_what_a_night_said_of_a_model_is_settled_once_a_person_has_acted(lake: Lake, act: str) -> None:
    other = "bilstm-20260301T020000Z-bbbbbb"
    add_model(lake, other)
    decision = {"promotion": promotion("not promoted", "worse", message="It is worse.")}
    add_run(lake, "train", LAST, outputs={"model_id": other}, metrics=decision)
    line = f"train: {other} was not promoted: it is worse than the live model"
    add_run(lake, "nightly", LAST + timedelta(minutes=5), metrics={"steps": [], "attention": [line], "log": "logs/x.log"})
    later = LAST + timedelta(hours=1)
    if act == "promote":
        go_live(lake, other, later, "promoted")
    elif act != "nothing":
        models = [MODEL if act == "retract another" else other]
        add_run(lake, "retract", later, metrics={"models": models, "dry_run": act == "plan to retract"})
    found = [kind for kind in kinds(lake) if kind != "withdrawn"]
    assert found == ([] if act in ("promote", "retract") else ["not_promoted"])


@pytest.mark.parametrize(
    "decision",
    [
        promotion(),
        promotion("not promoted", "never"),
        {"decision": 7},
        "odd",
        None,
        promotion("not promoted", "worse", message=3),
    ],
)
def test_other_decisions_need_nobody_or_are_told_as_far_as_they_can_be(lake: Lake, decision: Any) -> None:
    add_run(lake, "train", LAST, metrics={"promotion": decision})
    worse = isinstance(decision, dict) and decision.get("reason") == "worse"
    assert kinds(lake) == (["not_promoted"] if worse else [])


def test_drift_and_unknown_tokens(lake: Lake) -> None:
    add_run(lake, "score", LAST, metrics={"drift": drift(False)})
    assert kinds(lake) == []
    add_run(lake, "score", LAST + timedelta(minutes=1), metrics={"drift": drift(True, 0.3, ("length", "unknown"))})
    assert looked(lake).verdict.startswith("Needs you: the reviews scored last differ from the training data in length and")
    add_run(lake, "ingest", LAST, metrics={"unknown_share": 0.14, "unknown_share_table": None})
    assert kinds(lake) == ["drift", "unknown_tokens"]
    assert kinds(lake, max_unknown=0.2) == ["drift"]
    finding = looked(lake).found[1]
    assert finding.message == "14.0% of the new tokens are not in the vocabulary (limit 5.0%)"
    assert finding.command == ("ingest", "--rebuild-vocab")


def test_the_limit_for_unknown_tokens_is_that_of_the_run_and_few_tokens_are_not_judged(lake: Lake) -> None:
    add_run(lake, "ingest", LAST, metrics={"unknown_share": 0.14, "tokens": 999})
    assert kinds(lake) == []
    add_run(lake, "ingest", LAST, metrics={"unknown_share": 0.14, "tokens": 1000}, config={"unknown_warn": 0.2})
    assert kinds(lake) == []
    assert kinds(lake, max_unknown=0.1) == ["unknown_tokens"]


def test_a_run_that_ended_with_65_for_drift_alone_is_no_failure(lake: Lake) -> None:
    add_run(lake, "score", LAST, 65, outcome="done", written=9, metrics={"drift": drift(True, 0.3, ("length",))})
    assert kinds(lake) == ["drift"]
    steps = [{"command": "score", "run_id": max(lake.runs.glob("*-score-*")).stem, "exit_code": 65}]
    add_run(lake, "nightly", LAST, 65, metrics={"steps": steps}, error="DataError: score failed")
    assert kinds(lake) == ["drift"]


def test_the_words_that_quote_nothing_are_preferred(lake: Lake) -> None:
    path = lake.runs / f"{add_run(lake, 'score', LAST, 65, error='DataError: secret')['run_id']}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "error_brief": "a row is malformed. Fix it."}))
    assert looked(lake).verdict.endswith("UTC: a row is malformed")


def test_skipped_files_are_compared_by_name_where_records_have_them(lake: Lake) -> None:
    files = [{"file": "raw/a.csv", "reason": "damaged"}]
    add_run(lake, "ingest", LAST, quarantined=1, metrics={"quarantined_files": files})
    assert looked(lake).verdict == "Needs you: 1 file skipped by ingest: raw/a.csv (damaged), 2026-03-01 02:31 UTC"
    other = [{"file": "raw/b.csv", "reason": "damaged"}]
    add_run(lake, "ingest", LAST + timedelta(minutes=1), quarantined=1, metrics={"quarantined_files": other})
    assert kinds(lake) == ["quarantined"]
    add_run(lake, "ingest", LAST + timedelta(minutes=2), quarantined=1, metrics={"quarantined_files": other})
    assert kinds(lake) == []


@pytest.mark.parametrize("value", [None, "0.5", True, float("inf"), [], {}])
def test_figures_of_another_kind_are_none(lake: Lake, value: Any) -> None:
    path = lake.runs / "20260301T023000.000Z-ingest-ffffff.json"
    add_run(lake, "ingest", LAST, metrics={"unknown_share": value, "rejects": value}, outputs={"rejects": value})
    add_run(lake, "score", LAST, metrics={"drift": value})
    assert kinds(lake) == [] and not path.exists()


def test_a_night_that_did_not_happen(lake: Lake) -> None:
    later = look(lake, Limits(min_free=0), NOW + timedelta(days=3))
    (finding,) = later.found
    assert finding.kind == "stale" and finding.command == ("ingest",)
    assert finding.message == "no night for 3 days: the last ingest ended 2026-02-28 23:31 UTC"
    assert not look(lake, Limits(min_free=0, max_age=0), NOW + timedelta(days=3)).found
    assert not look(lake, Limits(min_free=0, max_age=96 * 3600), NOW + timedelta(days=3)).found


def test_runs_of_a_clock_that_was_ahead_hide_no_later_ones(lake: Lake) -> None:
    ahead = NOW + timedelta(days=2000)
    add_run(lake, "ingest", ahead, 99)
    add_run(lake, "ingest", LAST, 65, error="DataError: damaged")
    found = looked(lake)
    assert [finding.kind for finding in found.found] == ["failed"]
    last = next(run for run in found.document()["runs"] if run["command"] == "ingest")
    assert last["exit_code"] == 65


def test_a_last_night_that_is_still_to_come_needs_a_person(lake: Lake) -> None:
    for path in lake.runs.glob("*-ingest-*"):
        path.unlink()
    add_run(lake, "ingest", NOW + timedelta(minutes=5))  # clocks of two machines
    assert kinds(lake) == []
    for path in lake.runs.glob("*-ingest-*"):
        path.unlink()
    add_run(lake, "ingest", NOW + timedelta(days=2000))
    (finding,) = looked(lake).found
    assert finding.kind == "stale" and finding.command == ("ingest",)
    assert finding.message == "the last ingest ended 2031-08-22 07:31 UTC, which is still to come: a clock is wrong, or was"
    assert not looked(lake, max_age=0).found


def test_a_full_disk(lake: Lake) -> None:
    free = looked(lake).disk.free
    (finding,) = looked(lake, min_free=free + (1 << 30)).found
    assert finding.kind == "disk" and finding.command == ("vacuum", "--models", "--runs")


def test_a_live_model_that_is_gone_and_a_lake_without_one(lake: Lake) -> None:
    lake.latest.write_text("gone\n")
    assert kinds(lake) == ["no_model"] and looked(lake).found[0].command == ("repair",)
    lake.latest.write_bytes(b"\xff")
    assert kinds(lake) == ["no_model"]
    lake.latest.write_text("../runs\n")
    assert kinds(lake) == ["no_model"]


def test_an_empty_lake_asks_for_reviews(tmp_path: Path) -> None:
    found = looked(Lake(tmp_path))
    assert [finding.kind for finding in found.found] == ["no_runs"]
    assert found.verdict == "Needs you: no reviews have been ingested yet"
    assert list(tmp_path.iterdir()) == [], "looking writes nothing"


def test_a_damaged_record_that_is_needed_is_named_and_foreign_files_are_passed_over(lake: Lake) -> None:
    for name in ("notes.json", "20260301T060000.000Z-ingest-zzz.json", "20260301T060000Z.json", ".tmp-1-x-ingest-ab.json"):
        (lake.runs / name).write_text("no record")
    assert kinds(lake) == []
    for name in ("20260301T060000.000Z-ingest-abc123", "20260301T060000Z-score-abc123"):
        (lake.runs / f"{name}.json").write_text('{"version": 1}')
    found = looked(lake)
    assert [finding.kind for finding in found.found] == ["damaged"]
    assert "20260301T060000.000Z-ingest-abc123.json and 1 more" in found.verdict
    assert found.verdict.startswith("Needs you: ") and found.found[0].command == ("repair",)


def test_only_the_newest_records_are_read(lake: Lake) -> None:
    add_run(lake, "ingest", BEFORE - timedelta(days=1))
    for number in range(1000):
        (lake.runs / f"20250101T{number:06d}.000Z-ingest-abc123.json").write_text("damaged")
    assert kinds(lake) == []


def test_a_record_of_a_newer_release_is_named(lake: Lake) -> None:
    newest = max(lake.runs.glob("*-score-*"))
    newest.write_text(newest.read_text().replace('"version": 1', '"version": 2'))
    assert kinds(lake) == ["damaged"]


def test_lines_of_the_last_night_are_reported_unless_a_rule_says_the_same(tmp_path: Path) -> None:
    attention = ("train: failed with exit code 65: see the log.", "3 new classes were found.", "score: 3 rows rejected")
    lake = lake_of_nights(tmp_path, 2, failed="train", attention=attention)
    found = looked(lake).found
    assert [finding.kind for finding in found] == ["failed", "reported", "reported"]
    assert [one.message for one in found[1:]] == ["3 new classes were found", "score: 3 rows rejected"]
    add_run(lake, "train", NOW - timedelta(hours=1), 0)
    assert kinds(lake) == [], "a person has done the rest of the night by hand"


def test_a_failed_night_without_records_of_its_steps_is_reported_by_its_own(tmp_path: Path) -> None:
    lake = Lake(tmp_path.resolve())
    add_model(lake, MODEL)
    go_live(lake, MODEL, BEFORE)
    steps: list[dict[str, Any]] = [
        {"command": "ingest", "run_id": None, "exit_code": 137, "seconds": 3.5, "error": "it was killed. Sad."}
    ]
    add_run(lake, "nightly", LAST, 70, metrics={"steps": steps, "attention": [], "log": "logs/x.log"})
    (finding,) = looked(lake).found
    assert finding.message == "ingest failed with exit code 137 in the night of 2026-03-01 02:30 UTC: it was killed"
    add_run(lake, "nightly", LAST + timedelta(minutes=30), 2, error="UsageError: bad option. Fix it")
    assert looked(lake).verdict.startswith("Needs you: nightly failed with exit code 2, 2026-03-01 03:01 UTC: bad option")


@pytest.mark.parametrize("steps", [None, "odd", [7], [{"command": 3, "exit_code": "x", "metrics": []}], {}])
def test_a_night_with_odd_parts_does_no_harm(tmp_path: Path, steps: Any) -> None:
    lake = lake_of_nights(tmp_path, 1)
    metrics = {"steps": steps, "attention": steps, "log": steps}
    add_run(lake, "nightly", LAST, metrics=metrics)
    assert kinds(lake) in ([], ["reported"])


def test_every_kind_is_described() -> None:
    assert all(words and not words.endswith(".") for words in KINDS.values())
