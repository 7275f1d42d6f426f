"""The crontab as cron runs it: settings without expansion, a bare environment, /bin/sh, another working folder."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import Run
from tests.support.fork_server import forked_pipeline
from tests.support.paths import ROOT

CRONTAB = ROOT / "jobs" / "schedule" / "crontab"
SMALL = "--arch rnn --epochs 1 --embedding-dim 4 --hidden-dim 4"


def parsed(text: str) -> tuple[dict[str, str], list[str]]:
    """Settings and commands, by the rules of crontab(5): no $ expansion; an unescaped % would end the command."""
    settings, commands = {}, []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if setting := re.match(r"\s*(\w+)\s*=\s*(.*?)\s*$", line):
            settings[setting[1]] = setting[2]
        else:
            schedule, command = line.split(maxsplit=5)[:5], line.split(maxsplit=5)[5]
            assert all(re.fullmatch(r"[\d*,/-]+", field) for field in schedule)
            assert not re.search(r"(?<!\\)%", command)
            commands.append(command.replace(r"\%", "%"))
    return settings, commands


@pytest.fixture
def lake(tmp_path: Path, command: Run) -> Path:
    """A lake with raw reviews and a file to score."""
    root = tmp_path / "lake"
    score = ("--score-input", root / "incoming/new.parquet", "--score-reviews", 12)
    assert command("sample", root / "raw", "--reviews", 60, "--test-reviews", 10, "--unsup", 4, *score).code == 0
    return root


def night(lake: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """One night of cron, with this test's executable and lake in the settings."""
    executable = tmp_path / "pipeline"
    executable.write_text(f'#!/bin/sh\nexec {shlex.join(forked_pipeline())} "$@"\n')
    executable.chmod(0o755)
    settings, (command,) = parsed(CRONTAB.read_text())
    settings |= {"PIPELINE": str(executable), "PIPELINE_LAKE": str(lake), "TRAIN_OPTIONS": SMALL}
    settings |= {"SCORE_INPUT": str(lake / "incoming"), "LOG": str(tmp_path / "pipeline.log")}
    assert command == "/opt/review-pipeline/nightly.sh"
    command = str(ROOT / "jobs" / "schedule" / "nightly.sh")
    bare = {"HOME": str(tmp_path), "LOGNAME": "cron", **settings}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    return subprocess.run(
        [settings["SHELL"], "-c", command], capture_output=True, text=True, env=bare, cwd=elsewhere, timeout=240, check=False
    )


def receipts(tmp_path: Path) -> list[dict[str, object]]:
    lines = (tmp_path / "pipeline.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_a_night_with_work_and_a_night_without(lake: Path, tmp_path: Path) -> None:
    first = night(lake, tmp_path)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    assert [(r["command"], r["written"]) for r in receipts(tmp_path)] == [("ingest", 74), ("train", 0), ("score", 12)]
    assert (lake / "predictions" / "incoming" / "new.parquet").exists()
    second = night(lake, tmp_path)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert [(r["command"], r["written"], r["known"]) for r in receipts(tmp_path)[3:]] == [
        ("ingest", 0, 74),
        ("train", 0, 0),
        ("score", 0, 12),
    ]
    assert len(list((lake / "models").glob("rnn-*"))) == 1


def test_a_bad_night_says_one_line_and_ends_with_the_code(lake: Path, tmp_path: Path) -> None:
    (lake / "raw" / "broken.csv").write_text("text,label\n" + "three,cells,here\n" * 5000)
    done = night(lake, tmp_path)
    assert done.returncode == 65
    assert done.stderr == f"pipeline ingest ended with 65; see {tmp_path / 'pipeline.log'}\n"
    assert "rows are malformed; --max-bad allows 5%" in (tmp_path / "pipeline.log").read_text()
    assert not (lake / "models").exists()


def test_a_file_that_cannot_be_read_does_not_end_the_night(lake: Path, tmp_path: Path) -> None:
    (lake / "raw" / "broken.tar.gz").write_bytes(b"\x1f\x8b no archive")
    assert night(lake, tmp_path).returncode == 0
    assert "broken.tar.gz: the archive is damaged or truncated" in (tmp_path / "pipeline.log").read_text()
    assert (lake / "models" / "LATEST").exists()


def test_a_night_without_a_log_blames_the_log(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.log").mkdir()
    done = night(lake, tmp_path)
    assert done.returncode == 73
    assert done.stderr.startswith(f"cannot write the log {tmp_path / 'pipeline.log'}: set LOG")
    assert not (lake / "tokens").exists()


def test_what_is_scheduled_is_installed_with_us() -> None:
    import tomllib

    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    assert {"crontab", "*.sh"} <= set(patterns)
