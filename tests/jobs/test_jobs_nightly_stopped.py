"""A night that is stopped, or killed: its step ends, nothing is half-written, and the next night goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.commands import Run
from tests.support.paths import ROOT

ENDLESS = '[train]\narch = "rnn"\nepochs = 2000\nembedding-dim = 4\nhidden-dim = 4\npatience = 0\n'
SHORT = '[train]\narch = "nbsvm"\n'


@pytest.fixture
def lake(tmp_path: Path, command: Run) -> Path:
    """A lake with reviews to ingest, whose training takes for ever, and a live model to score with."""
    root = tmp_path / "lake"
    assert command("sample", root / "raw", "--reviews", 240, "--test-reviews", 40, "--unsup", 4).code == 0
    (root / "pipeline.toml").write_text(ENDLESS)
    return root


@pytest.fixture
def begun(lake: Path) -> Iterator[subprocess.Popen[str]]:
    """A night in the middle of its training, in a process of its own as cron starts it."""
    night = subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline", "--lake", str(lake), "nightly"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        wait_for(lambda: any("epoch 2 train" in log for log in logs(lake)), night)
        yield night
    finally:
        night.kill()
        night.wait()
        night.stdout and night.stdout.close()
        night.stderr and night.stderr.close()


def logs(lake: Path) -> list[str]:
    return [path.read_text() for path in (lake / "logs").glob("*.log")]


def wait_for(true: Callable[[], object], night: subprocess.Popen[str] | None = None, seconds: float = 200) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "took too long"
        assert night is None or night.poll() is None, "the night has ended"
        time.sleep(0.05)


def steps_of(lake: Path) -> set[int]:
    """Processes of the lake's steps."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(lake) in words and b"train" in words:
            found.add(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_the_step_and_the_night(
    lake: Path, begun: subprocess.Popen[str], command: Run, number: int, code: int
) -> None:
    begun.send_signal(number)
    stdout, stderr = begun.communicate(timeout=200)
    assert begun.returncode == code
    assert (stdout, stderr.count("\n")) == ("", 1)
    assert stderr.startswith(f"pipeline: stopped by signal {number}; no file is half-written. Run the same command again")
    assert steps_of(lake) == set()
    records = {path.stem.split("-")[1]: json.loads(path.read_text()) for path in (lake / "runs").glob("*Z-[int]*.json")}
    assert {name: found["outcome"] for name, found in records.items()} == {
        "ingest": "done",
        "train": "stopped",
        "nightly": "stopped",
    }
    told = [(step["command"], step["exit_code"]) for step in records["nightly"]["receipt"]["metrics"]["steps"]]
    assert told == [("ingest", 0), ("train", code)]
    (lake / "pipeline.toml").write_text(SHORT)
    again = command("--lake", lake, "nightly")
    assert again.code == 0
    ingest, train = again.receipt["metrics"]["steps"]
    assert (ingest["exit_code"], ingest["known"], train["exit_code"]) == (99, 284, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel tells the step only on Linux")
@pytest.mark.slow
def test_a_killed_night_takes_its_step_along(lake: Path, begun: subprocess.Popen[str], command: Run) -> None:
    assert steps_of(lake)
    begun.kill()
    wait_for(lambda: not steps_of(lake))
    (lake / "pipeline.toml").write_text(SHORT)
    again = command("--lake", lake, "nightly")
    assert again.code == 0
    assert again.receipt["metrics"]["steps"][0]["known"] == 284
