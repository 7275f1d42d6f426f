"""Training that is killed, told to stop, or loses a worker: nothing is lost but the steps since the last checkpoint."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from pipeline.errors import LockedError
from tests.support.commands import invoke
from tests.support.fork_server import KILL, forked_pipeline
from tests.support.paths import ROOT
from tests.support.token_corpus import Corpus, write_corpus

SMALL = (
    "--arch",
    "lstm",
    "--embedding-dim",
    "16",
    "--hidden-dim",
    "16",
    "--batch-size",
    "32",
    "--checkpoint-every",
    "5",
    "--no-baseline",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("faults"), 1500, test_rows=60)


STARTED: "list[subprocess.Popen[str]]" = []


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    """A test that fails leaves no process behind: each one's group ends with it."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def start(lake: Path, corpus: Corpus, *arguments: str, command: Sequence[str] = ()) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [*(command or forked_pipeline()), "train", "--lake", lake, "--tokens", corpus.shards, *SMALL, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    STARTED.append(process)
    return process


def train(lake: Path, corpus: Corpus, *arguments: str) -> dict[str, Any]:
    """The same training in this process."""
    return invoke("train", "--lake", lake, "--tokens", corpus.shards, *SMALL, *arguments)


def finish(process: "subprocess.Popen[str]", code: int = 0) -> str:
    out, err = process.communicate()  # a run that hangs is pytest-timeout's
    assert process.returncode == code, err
    return out.strip().splitlines()[-1] if out.strip() else ""


def checkpoints(lake: Path) -> set[str]:
    return {path.name for path in lake.glob("checkpoints/*/epoch-*.safetensors")}


def wait_for(condition: "object", process: "subprocess.Popen[str]", seconds: float = 120) -> bool:
    """Whether the condition came true while the process ran."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


def weights(lake: Path) -> bytes:
    model = lake / "models" / (lake / "models" / "LATEST").read_text().strip()
    return (model / "model.safetensors").read_bytes()


def killed_and_resumed(lake: Path, corpus: Corpus, kills: int, options: tuple[str, ...]) -> int:
    """Kills at random moments, each time after a new checkpoint; returns how often it was in time."""
    moments = random.Random(kills)
    done = 0
    for _ in range(kills):
        before = checkpoints(lake)
        process = start(lake, corpus, *options, "--resume")
        if wait_for(lambda before=before: checkpoints(lake) - before, process):
            time.sleep(moments.uniform(0, 0.2))
        if process.poll() is not None:
            finish(process)
            return done
        process.send_signal(KILL)
        process.communicate()
        done += 1
    finish(start(lake, corpus, *options, "--resume"))
    return done


@pytest.mark.parametrize(
    ("kills", "epochs"), [(1, "2"), pytest.param(20, "60", marks=[pytest.mark.slow, pytest.mark.timeout(1200)])]
)
def test_killed_and_resumed_gives_the_same_bits(tmp_path: Path, corpus: Corpus, kills: int, epochs: str) -> None:
    options = ("--epochs", epochs, "--average", "0.9", "--patience", "1000")
    train(tmp_path / "whole", corpus, *options, "--checkpoint-every", "0")
    assert killed_and_resumed(tmp_path / "killed", corpus, kills, options) == kills
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert len(list((tmp_path / "killed" / "models").glob("lstm-*"))) == 1
    assert not list((tmp_path / "killed").glob("checkpoints/*/*"))


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_and_the_right_exit_code(tmp_path: Path, corpus: Corpus, stop: signal.Signals) -> None:
    process = start(tmp_path, corpus, "--epochs", "500")
    assert wait_for(lambda: checkpoints(tmp_path), process)
    sent = time.monotonic()
    process.send_signal(stop)
    finish(process, 128 + stop)
    assert time.monotonic() - sent < 10
    assert not list(tmp_path.rglob(".tmp-*"))
    newest = max(tmp_path.glob("checkpoints/*/epoch-*.safetensors"))
    with safe_open(newest, framework="numpy") as file:
        state = json.loads(file.metadata()["state"])
        assert f"epoch-{state['epoch']:05d}-step-{state['step']:09d}" in newest.name
    record = json.loads(max(tmp_path.glob("runs/*.json")).read_text())
    assert (record["outcome"], record["exit_code"]) == ("stopped", 128 + stop)


@pytest.mark.slow
def test_two_processes_do_not_train_the_same(tmp_path: Path, corpus: Corpus) -> None:
    process = start(tmp_path, corpus, "--epochs", "500")
    assert wait_for(lambda: checkpoints(tmp_path), process)
    os.killpg(process.pid, signal.SIGSTOP)  # it keeps its lock, and leaves the cores to the others
    for more in ((), ("--resume",), ("--force",)):
        with pytest.raises(LockedError):
            train(tmp_path, corpus, "--epochs", "500", *more)
    finish(start(tmp_path, corpus, "--epochs", "500", "--nproc", "2", "--max-restarts", "0"), 75)
    assert len(list(tmp_path.glob("checkpoints/*"))) == 1
    assert train(tmp_path, corpus, "--epochs", "1")["code"] == 0
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_a_signal_reaches_all(tmp_path: Path, corpus: Corpus) -> None:
    options = ("--epochs", "8")
    ours = (sys.executable, "-m", "pipeline")  # whose children are the workers
    process = start(tmp_path, corpus, *options, "--nproc", "2", "--max-restarts", "2", command=ours)
    assert wait_for(lambda: checkpoints(tmp_path), process)
    first = workers_of(process.pid)
    os.kill(first[-1], signal.SIGKILL)
    assert wait_for(lambda: len(set(workers_of(process.pid)) - set(first)) == 2, process)
    at_restart = max(checkpoints(tmp_path))
    assert wait_for(lambda: max(checkpoints(tmp_path), default="") > at_restart, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 143, err
    assert len([line for line in err.splitlines() if "resuming training" in line]) == 1
    assert not list(tmp_path.rglob(".tmp-*"))
    receipt = train(tmp_path, corpus, *options, "--resume")
    assert (receipt["code"], receipt["metrics"]["epochs"]) == (0, 8)
    assert (tmp_path / "models" / "LATEST").read_text().strip() == receipt["outputs"]["model_id"]


def workers_of(launcher: int) -> list[int]:
    """Process ids of the launcher's workers, by rank; none while it replaces them, which `ps` calls a failure."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(launcher)], capture_output=True, text=True, check=False)
    return sorted(int(line.split()[0]) for line in listed.stdout.splitlines() if " train " in line)
