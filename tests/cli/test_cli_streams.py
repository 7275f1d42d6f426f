"""Standard streams that are closed, full or gone: the exit code still says what the run did."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.commands import run_here
from tests.support.fork_server import forked_pipeline
from tests.support.paths import ROOT
from tests.support.scoring import make_lake

REVIEWS = "text,label\ngood film,pos\nbad film,neg\ncafé “q”,pos\n"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text(REVIEWS, encoding="utf-8")
    return path


PYTHON = (sys.executable, "-m", "pipeline")
"""A process from its start, with whatever streams it is given."""


def shell(line: str, command: Sequence[str] = PYTHON, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs a line of bash in which `pipeline` is the command."""
    function = f'pipeline() {{ {shlex.join(command)} "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", function + line],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=ROOT,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
@pytest.mark.parametrize("ending", [">&-", ">/dev/full", "<&- >&- 2>&-"])
def test_a_committed_run_ends_with_0_whatever_its_streams(reviews: Path, tmp_path: Path, ending: str) -> None:
    if "/dev/full" in ending and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    lake = tmp_path / "lake"
    done = shell(f"pipeline ingest {reviews} --lake {lake} {ending}")
    assert done.returncode == 0, done.stderr
    (record,) = (json.loads(path.read_text()) for path in lake.glob("runs/*.json"))
    assert (record["outcome"], record["exit_code"], record["receipt"]["written"]) == ("done", 0, 3)
    if ending == ">/dev/full":
        assert shell(f"pipeline ingest {reviews} --lake {lake} {ending}", forked_pipeline()).returncode == 99
        assert "receipt could not be printed" in done.stderr and record["run_id"] in done.stderr


def test_a_reader_that_leaves_early_is_no_failure(reviews: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert run_here("ingest", reviews, "--lake", lake).code == 0
    done = shell(f"set -o pipefail; pipeline vocab --lake {lake} --top 100000 | true", forked_pipeline())
    assert (done.returncode, done.stderr) == (0, "")
    if Path("/dev/full").exists():
        full = shell(f"pipeline vocab --lake {lake} >/dev/full", forked_pipeline())
        assert full.returncode == 73 and "No space left" in full.stderr


@pytest.mark.parametrize(("command", "code"), [("status", 1), ("status --json", 1), ("doctor", 66), ("doctor --json", 66)])
def test_a_reader_that_leaves_early_does_not_hide_what_was_found(tmp_path: Path, command: str, code: int) -> None:
    lake = make_lake(tmp_path / "lake")
    (lake / "models" / "LATEST").write_text("gone\n")
    done = shell(f"set -o pipefail; pipeline --lake {lake} {command} | true", forked_pipeline())
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.slow
def test_a_stdout_of_another_encoding_shows_escapes(reviews: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert run_here("ingest", reviews, "--lake", lake).code == 0
    done = shell(f"pipeline vocab --lake {lake}", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0 and "\\u201cq" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("what", ["reviews", "--text=good"])
def test_predictions_that_stdout_cannot_take_are_not_lost_in_silence(reviews: Path, tmp_path: Path, what: str) -> None:
    lake = make_lake(tmp_path / "lake")
    given = what if what.startswith("--") else f"{reviews} --output -"
    closed = shell(f"pipeline score {given} --lake {lake} >&-")
    assert closed.returncode == 73 and "stdout is closed, so the predictions would be lost" in closed.stderr
    if Path("/dev/full").exists():
        full = shell(f"pipeline score {given} --lake {lake} >/dev/full", forked_pipeline())
        assert full.returncode == 73 and "No space left" in full.stderr
        assert {json.loads(path.read_text())["outcome"] for path in lake.glob("runs/*.json")} <= {"failed"}
    early = shell(f"set -o pipefail; pipeline score {given} --lake {lake} | true", forked_pipeline())
    assert early.returncode == 0, early.stderr
