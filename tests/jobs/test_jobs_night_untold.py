"""What a night that was killed or stopped could not say, the next one says, once."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.night.log_file import night_log
from pipeline.lake.paths import Lake
from tests.support.commands import Outcome, Run, run_here
from tests.support.fork_server import forked_pipeline

Cut = Callable[[Path], None]


@pytest.fixture(autouse=True)
def _forked_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.night.step.COMMAND", forked_pipeline())


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A lake after a night whose model was not promoted and whose ingest rejected a row, and what that night said."""
    root = tmp_path_factory.mktemp("flipped") / "lake"
    assert run_here("sample", root / "raw", "--reviews", 240, "--test-reviews", 40, "--unsup", 4).code == 0
    (root / "pipeline.toml").write_text('[train]\narch = "nbsvm"\n')
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("jobs.night.step.COMMAND", forked_pipeline())
        assert run_here("--lake", root, "nightly").code == 0
        other = {"pos": "neg", "neg": "pos"}
        texts = [(path.read_text(), path.parent.name) for path in sorted((root / "raw").rglob("train/[np]*/*.txt"))]
        rows = [json.dumps({"text": f"{text} {copy}", "label": other[label]}) for copy in range(3) for text, label in texts]
        (root / "raw" / "flipped.jsonl").write_text("\n".join([*rows, '{"text": "", "label": "pos"}']))
        return root, run_here("--lake", root, "nightly")


@pytest.fixture
def lake(flipped: tuple[Path, Outcome], tmp_path: Path) -> Path:
    return Path(shutil.copytree(flipped[0], tmp_path / "lake"))


def last_record(lake: Path, command: str) -> Path:
    return max((lake / "runs").glob(f"*-{command}-*.json"))


def killed(lake: Path) -> None:
    """As SIGKILL leaves it, before the night's record."""
    last_record(lake, "nightly").unlink()


def killed_in_training(lake: Path) -> None:
    """As SIGKILL leaves it, between the decision and the records."""
    killed(lake)
    last_record(lake, "train").unlink()


def stopped(lake: Path) -> None:
    """As SIGTERM leaves it: the record has what the night could not say."""
    path = last_record(lake, "nightly")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"outcome": "stopped", "exit_code": 143}))


def said(done: Outcome) -> set[str]:
    """What was rejected and not promoted, without the command that shows it, which names the lake."""
    lines = (line.partition(" To see them: ")[0] for line in done.stderr.splitlines())
    return {line for line in lines if "rejected" in line or "not promoted" in line}


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(killed, marks=pytest.mark.slow),
        pytest.param(killed_in_training, marks=pytest.mark.slow),
        stopped,
    ],
)
def test_the_next_night_says_it_once(
    flipped: tuple[Path, Outcome], lake: Path, command: Run, cut: Cut, tmp_path: Path
) -> None:
    assert len(said(flipped[1])) == 2
    cut(lake)
    again = command("--lake", lake, "nightly")
    assert again.code == 99
    assert said(again) == said(flipped[1])
    assert len(again.stderr.splitlines()) == len(set(again.stderr.splitlines()))
    assert command("--lake", lake, "nightly").stderr == ""


def test_a_night_that_told_is_not_repeated(lake: Path, command: Run) -> None:
    assert command("--lake", lake, "nightly").stderr == ""


def test_a_clock_that_was_ahead_neither_stops_training_nor_removes_tonights_log(lake: Path, command: Run) -> None:
    ahead = datetime.now(UTC) + timedelta(days=3000)
    described = lake / "models" / (lake / "models" / "LATEST").read_text().strip() / "model.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"created": f"{ahead:%Y-%m-%dT%H:%M:%SZ}"}))
    (lake / "logs" / f"{ahead:%Y%m%dT%H%M%S}.000Z.log").write_text("")
    done = command("--lake", lake, "nightly", "--retrain", "days:7", "--keep-logs", 1)
    assert [step["command"] for step in done.receipt["metrics"]["steps"]] == ["ingest", "train"]
    assert Path(done.receipt["outputs"]["log"]).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_log_that_cannot_be_written_leaves_no_traceback(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lake = Lake(tmp_path)
    with night_log(lake, "20260101T000000.000Z-nightly-000000", logging.Formatter()) as path:
        full = os.open("/dev/full", os.O_WRONLY)
        (written,) = (number for number in Path("/proc/self/fd").iterdir() if number.exists() and number.samefile(path))
        os.dup2(full, int(written.name))
        os.close(full)
        logging.getLogger().warning("no space")
    assert capfd.readouterr().err == ""
