"""What every job does around its work, when a signal falls at an awkward moment."""

import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jobs.runtime import committing, recorded_run
from pipeline.config.vacuum import VacuumConfig
from pipeline.errors import DataError, StoppedError
from pipeline.lake.paths import Lake
from pipeline.progress import AS_IT_IS, BRIEF, IN_FIGURES
from pipeline.readers.base import FileFault
from pipeline.signals import raise_on_stop
from schemas.contract import ContractError
from tests.support.commands import run_here


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Puts the process's signal handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_in_the_middle_of_an_import_is_a_stop_whatever_it_causes(tmp_path: Path) -> None:
    raise_on_stop()
    with pytest.raises(StoppedError) as stopped, recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except StoppedError:
            raise AttributeError("partially initialized module has no attribute 'x'") from None
    assert stopped.value.exit_code == 143
    (record,) = (tmp_path / "runs").glob("*.json")
    assert json.loads(record.read_text())["outcome"] == "stopped"


@pytest.mark.parametrize("place", ["absent", "foreign"])
def test_a_run_that_fails_where_there_is_no_lake_leaves_nothing_there(tmp_path: Path, place: str) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "reviews.csv").write_text("text,label\n")
    before = sorted(tmp_path.rglob("*"))
    lake = tmp_path / place
    for command in (
        *(("train",), ("pretrain",), ("crossval",), ("score", tmp_path / "foreign" / "reviews.csv"), ("evaluate",)),
        *(("report",), ("export",), ("compact",), ("vacuum",), ("retract", "latest"), ("repair",), ("upgrade",)),
        *(("erase", "--review-id", "x", "--yes"), ("nightly",), ("status",)),
    ):
        done = run_here("--lake", lake, *command)
        assert done.code == 66 and f"there is no lake at {lake}." in done.stderr and "'pipeline init FILE'" in done.stderr
        assert "'text'" not in done.stderr
    assert run_here("--lake", lake, "ingest", tmp_path / "nosuch.csv").code == 66
    assert sorted(tmp_path.rglob("*")) == before
    lake.mkdir(exist_ok=True)
    (lake / "pipeline.toml").touch()
    assert run_here("--lake", lake, "train").code == 66
    assert len(list((lake / "runs").glob("*-train-*.json"))) == 1, "a lake keeps the records of its failed runs"


def test_a_first_run_on_bad_data_is_on_record(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("text,label\n")
    assert run_here("--lake", tmp_path / "lake", "ingest", tmp_path / "empty.csv").code == 65
    (record,) = (tmp_path / "lake" / "runs").glob("*-ingest-*.json")
    assert json.loads(record.read_text())["exit_code"] == 65


def test_a_run_that_found_nothing_new_says_so_in_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)) as run:
        run.nothing_new = True
    assert f"vacuum {run.run_id}: found nothing new in 0.0 s" in caplog.text


def test_an_error_without_a_signal_stays_what_it_is(tmp_path: Path) -> None:
    raise_on_stop()
    with pytest.raises(AttributeError), recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)):
        raise AttributeError("ours")


def test_a_stop_that_an_import_swallows_is_one_before_anything_is_committed(tmp_path: Path) -> None:
    raise_on_stop()
    committed = False
    with (
        pytest.raises(StoppedError) as stopped,
        recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)) as run,
    ):
        with suppress(Exception):  # as libraries do around modules that they can do without
            os.kill(os.getpid(), signal.SIGTERM)
        with committing(run):
            committed = True
    assert stopped.value.exit_code == 143 and not committed
    (record,) = (tmp_path / "runs").glob("*.json")
    assert json.loads(record.read_text())["outcome"] == "stopped"


def test_a_record_keeps_the_warnings_of_its_run(tmp_path: Path) -> None:
    log = logging.getLogger("pipeline.test")
    with recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)):
        log.info("nothing to see")
        for _ in range(2):
            log.warning("rows %d\x1b[2J", 3)
        for number in range(30):
            log.warning("another, %d", number)
    log.warning("too late")
    (record,) = (tmp_path / "runs").glob("*.json")
    warnings = json.loads(record.read_text())["warnings"]
    assert warnings[:2] == ["rows 3\\x1b[2J", "another, 0"] and len(warnings) == 20


def test_a_record_has_the_brief_form_of_warnings_and_errors(tmp_path: Path) -> None:
    log = logging.getLogger("pipeline.test")
    with pytest.raises(DataError), recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)):
        log.warning("the file %s is old", "a.csv", extra=AS_IT_IS)
        log.warning("the label %r is odd", "awful film", extra={BRIEF: "a label is odd"})
        log.warning("3 rows rejected", extra=IN_FIGURES)
        log.warning("the review %r is odd", "awful film")
        raise DataError("no column 'awful film'", brief="a column is missing")
    (path,) = (tmp_path / "runs").glob("*.json")
    record = json.loads(path.read_text())
    assert len(record["warnings"]) == 4
    assert record["warning_briefs"] == {
        "the file a.csv is old": "the file a.csv is old",
        "the label 'awful film' is odd": "a label is odd",
        "3 rows rejected": "",
    }
    assert (record["error"], record["error_brief"]) == ("DataError: no column 'awful film'", "a column is missing")


@pytest.mark.parametrize(
    ("error", "brief"),
    [
        (FileFault("raw/a.csv", "column", "no column 'text'. Its columns: 'awful film'"), "raw/a.csv: a column is missing"),
        (KeyError("awful film"), "an internal error (KeyError)"),
        (ContractError("label is 'awful film'"), "a file of the lake breaks its contract (ContractError)"),
    ],
)
def test_an_error_that_may_quote_anything_has_a_brief_form_of_its_own(tmp_path: Path, error: Exception, brief: str) -> None:
    with pytest.raises(type(error)), recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)):
        raise error
    (path,) = (tmp_path / "runs").glob("*.json")
    assert json.loads(path.read_text())["error_brief"].startswith(brief)


def test_a_run_says_which_run_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PART_OF", "20260131T021500.000Z-nightly-1a2b3c")
    with recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)):
        pass
    (path,) = (tmp_path / "runs").glob("*.json")
    assert json.loads(path.read_text())["part_of"] == "20260131T021500.000Z-nightly-1a2b3c"
