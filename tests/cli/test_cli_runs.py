"""`pipeline runs`."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import jobs
from jobs import runtime
from pipeline.cli import runs as command
from pipeline.cli import summary
from pipeline.cli.app import app
from pipeline.doctor.lake import lake_checks
from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.lake.paths import Lake
from tests.support.commands import run_here
from tests.support.nights import add_run

assert command is not None, "importing the command registers it"


@dataclass(frozen=True)
class Plain:
    """A config to be rendered."""

    number: int


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with three runs, an hour apart: ingest, a failed train, ingest."""
    lake = Lake(tmp_path)
    for hour, name in enumerate(("ingest", "train", "ingest"), 1):
        run_id = f"20260131T0{hour}0000Z-{name}-1a2b3c"
        monkeypatch.setattr(runtime, "new_run_id", lambda command, run_id=run_id: run_id)
        with suppress(DataError), runtime.recorded_run(name, lake, Plain(7)) as run:
            run.read = run.written = 1234
            if name == "train":
                raise DataError("one class only")
    return lake


def listed(lake: Lake, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--lake", str(lake.root), "runs", *arguments], catch_exceptions=True)


def test_table_has_a_line_a_run_the_newest_last_and_says_why_one_failed(lake: Lake) -> None:
    lines = listed(lake).stdout.splitlines()
    assert tuple(lines[0].split()) == ("run", "outcome", "time", "read", "written")
    assert [line.split()[1:3] for line in lines[1:]] == [
        ["done", "0.0"],
        ["failed", "65"],
        ["class", "only"],
        ["done", "0.0"],
    ]
    assert lines[1].endswith("1,234    1,234") and lines[3] == "  one class only"


def test_the_table_fits_80_columns(lake: Lake) -> None:
    path = max(lake.runs.glob("*.json"))
    record = json.loads(path.read_text())
    record |= {"run_id": "20260131T010000.123Z-crossval-1a2b3c", "outcome": "nothing-new", "error": None}
    record["receipt"] |= {"seconds": 86_400.0, "read": 99_999_999, "written": 99_999_999, "rejected": 7}
    path.write_text(json.dumps(record))
    path = sorted(lake.runs.glob("*.json"))[1]
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "error": f"DataError: {'a long reason ' * 20}. Do this."}))
    lines = listed(lake).stdout.splitlines()
    assert max(map(len, lines)) == 80
    assert "  7 rows rejected" in lines


def test_last_and_command_choose(lake: Lake) -> None:
    assert len(listed(lake, "--last", "1").stdout.splitlines()) == 2
    assert len(listed(lake, "--last", "0").stdout.splitlines()) == 5
    (only,) = json.loads(listed(lake, "--command", "train", "--json").stdout)
    assert only["error"] == "DataError: one class only" and only["config"] == {"number": 7}


def test_one_run_whole(lake: Lake) -> None:
    path = sorted(lake.runs.glob("*.json"))[1]
    assert json.loads(listed(lake, "show", path.stem, "--json").stdout) == json.loads(path.read_text())
    told = listed(lake, "show", path.stem[:12]).stdout
    facts = {line[:8].strip(): line[8:].strip() for line in told.splitlines()}
    assert facts["error"] == "DataError: one class only"
    assert facts["outcome"] == "failed (exit code 65)" and facts["read"] == "1,234" and facts["options"] == "number 7"


def test_latest_is_the_most_recent_run(lake: Lake) -> None:
    newest = json.loads(listed(lake, "--json").stdout)[-1]
    assert json.loads(listed(lake, "show", "latest", "--json").stdout) == newest
    add_run(lake, "score", datetime(2999, 1, 1, tzinfo=UTC))  # by a clock that was ahead
    assert json.loads(listed(lake, "show", "latest", "--json").stdout) == newest


def test_figures_for_programs_and_those_that_were_not_measured_are_left_out(tmp_path: Path) -> None:
    with runtime.recorded_run("score", Lake(tmp_path), Plain(7)) as run:
        run.metrics = {"rejects_digest": None, "rejects_files": {"total": 0, "listed": []}, "share": None, "tokens": 1234}
    told = listed(Lake(tmp_path), "show", run.run_id).stdout
    assert "rejects" not in told and "None" not in told and "share" not in told
    assert [line.split() for line in told.splitlines() if line.startswith("tokens")] == [["tokens", "1,234"]]


def test_a_night_has_a_line_a_step_and_what_a_person_must_know(tmp_path: Path) -> None:
    with runtime.recorded_run("nightly", Lake(tmp_path), Plain(7)) as run:
        step = {"command": "ingest", "run_id": "20260131T010000Z-ingest-1a2b3c", "exit_code": 65}
        run.metrics = {"log": "a.log", "steps": [step], "attention": ["first", "second"]}
        run.outputs["log"] = "a.log"
    shown = [line.split(maxsplit=1) for line in listed(Lake(tmp_path), "show", run.run_id).stdout.splitlines()]
    assert ["ingest", "20260131T010000Z-ingest-1a2b3c (exit code 65)"] in shown
    assert [value for name, value in shown if name == "attention"] == ["first", "second"]
    assert sum(name == "log" for name, _ in shown) == 1


def test_rejected_rows_are_shown_with_place_reason_and_beginning(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.raw.mkdir(parents=True)
    odd = "".join(f"a very odd film number {n},n/a\n" for n in range(25))
    (lake.raw / "r.csv").write_text(f"text,label\nfine film,pos\nso so,3\n{odd}dull film,neg\n")
    (lake.raw / "broken.parquet").write_bytes(b"PAR1")
    given = ("--label-map", "pos=pos neg=neg", "--skip-labels", "3")
    assert run_here("--lake", lake.root, "ingest", *given).code == 0
    (run,) = [path.stem for path in lake.runs.glob("*.json")]
    lines = listed(lake, "show", run, "--rejects").stdout.splitlines()
    assert lines[0].startswith("raw/broken.parquet: damaged: cannot be read as parquet")
    assert lines[1] == "raw/r.csv, row 2: unmapped: --label-map has no class for 'n/a'"
    assert lines[2] == "  a very odd film number 0"
    assert lines[-2].startswith("and 6 more in ") and lines[-2].endswith("; --json prints all of them")
    assert lines[-1] == "1 row left out on purpose (--skip-labels)"
    rows = json.loads(listed(lake, "show", run, "--rejects", "--json").stdout)
    assert len(rows) == 27 and rows[1]["reason"] == "skipped_label"
    for path in lake.rejects.iterdir():
        path.unlink()
    error = listed(lake, "show", run, "--rejects").exception
    assert isinstance(error, InputNotFoundError) and "is gone. 'pipeline ingest' writes it again" in str(error)


def test_a_rejected_row_without_text_is_told_by_its_other_values(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.raw.mkdir(parents=True)
    (lake.raw / "r.csv").write_text(
        "id,text,label,film\na1,fine film,pos,f1\na2,,neg,f2\na3,...,pos,f3\na4,dull film,neg,f4\n"
    )
    (lake.raw / "s.csv").write_text("text,label\n,neg\ngood,pos\n")
    columns = ("--id-column", "id", "--group-column", "film", "--tokenizer", "punctuation")
    assert run_here("--lake", lake.root, "ingest", lake.raw / "r.csv", *columns).code == 0
    (run,) = [path.stem for path in lake.runs.glob("*.json")]
    assert listed(lake, "show", run, "--rejects").stdout.splitlines() == [
        "raw/r.csv, row 1: missing_text: the text is null; id 'a2', label 'neg', group 'f2'",
        "raw/r.csv, row 2: empty_text: the text has no tokens; id 'a3', label 'pos', group 'f3'",
        "  ...",
    ]
    assert run_here("--lake", lake.root, "erase", "--review-id", "a2", "--yes").code == 0
    assert "a2" not in listed(lake, "show", run, "--rejects").stdout
    assert run_here("--lake", lake.root, "ingest", lake.raw / "s.csv").code == 0
    run = max(path.stem for path in lake.runs.glob("*-ingest-*.json"))
    assert listed(lake, "show", run, "--rejects").stdout == "raw/s.csv, row 0: missing_text: the text is null; label 'neg'\n"
    assert "Rows count from 0" in " ".join(run_here("runs", "show", "--help").stdout.split())


def test_a_run_without_a_file_of_rejects_says_so(lake: Lake) -> None:
    error = listed(lake, "show", "20260131T02", "--rejects").exception
    assert isinstance(error, InputNotFoundError) and "wrote no file of rejected rows" in str(error)


def test_unknown_run_names_the_nearest_and_an_ambiguous_one_all(lake: Lake) -> None:
    error = listed(lake, "show", "20260131T020000Z-trian").exception
    assert isinstance(error, InputNotFoundError) and "Did you mean '20260131T020000Z-train-1a2b3c'?" in str(error)
    error = listed(lake, "show", "nope").exception
    assert str(error) == "no run 'nope'. 'pipeline runs --last 0' lists all."
    error = listed(lake, "show", "20260131").exception
    assert isinstance(error, InputNotFoundError) and "3 runs begin with '20260131': 20260131T03" in str(error), (
        "newest first"
    )


def test_empty_lake(tmp_path: Path) -> None:
    empty = Lake(tmp_path)
    assert listed(empty).exit_code == 0 and listed(empty).stdout == "" and "No runs yet" in listed(empty).stderr
    assert json.loads(listed(empty, "--json").stdout) == []
    assert isinstance(listed(empty, "show", "x").exception, InputNotFoundError)
    assert not list(empty.root.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs",),
        ("runs", "show", "latest"),
        ("models",),
        ("models", "show"),
        ("models", "promote", "x"),
        ("models", "rollback"),
        ("vocab", "0123456789abcdef"),
    ],
)
def test_a_mistyped_lake_is_no_empty_one(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run_here("--lake", tmp_path / "nolake", *arguments)
    assert done.code == 66 and f"there is no lake at {tmp_path}/nolake" in done.stderr
    assert not (tmp_path / "nolake").exists()


@pytest.mark.parametrize(
    "content",
    ['{"version": 1}', '{"version": 1e999}', "[" * 200_000, "[1]", "folder", '{"version": 1, "receipt": 2}'],
)
def test_a_broken_record_is_named_here_and_by_the_doctor(lake: Lake, content: str) -> None:
    path = lake.runs / "20260131T020000Z-x.json"
    if content == "folder":
        path.mkdir()
    else:
        path.write_text(content)
    error = listed(lake).exception
    assert isinstance(error, DataError) and str(error).startswith(str(path)) and "pipeline repair" in str(error)
    (found,) = [check for check in lake_checks(lake) if check.name == "runs"]
    assert (found.state, found.exit_code) == ("FAIL", 65)


def test_a_record_without_figures_is_named_and_a_half_written_one_passed_over(lake: Lake) -> None:
    (lake.runs / ".tmp-1234-x.json").write_text("{")
    path = min(lake.runs.glob("2*.json"))
    record = json.loads(path.read_text())
    assert listed(lake).exit_code == 0
    path.write_text(json.dumps({**record, "receipt": {"seconds": "x"}}))
    message = str(listed(lake).exception)
    assert f'{path} is not a valid run record: receipt.seconds is "x", expected a number; receipt.read is missing' in message


def test_unknown_command_names_the_known_ones(lake: Lake) -> None:
    error = listed(lake, "--command", "trian").exception
    assert isinstance(error, UsageError) and "Did you mean 'train'" in str(error)
    recorded = {
        re.search(r'recorded(?:_run)?\("(\w+)"', path.read_text()) for path in Path(jobs.__file__).parent.glob("*.py")
    }
    assert set(command.RECORDED) == {found[1] for found in recorded if found}


def test_negative_last_is_a_usage_error(lake: Lake) -> None:
    assert isinstance(listed(lake, "--last", "-1").exception, UsageError)


def test_every_command_that_leaves_a_record_has_a_summary_in_words() -> None:
    assert set(summary.WRITERS) == set(command.RECORDED)
