"""A night under Airflow's own scheduler and its LocalExecutor: workers die with SIGKILL, and nothing is doubled."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.lake.table import TokenTable
from tests.support.airflow import AIRFLOW, MARKS, Environment, make_environment, output, scored_rows, wait_for
from tests.support.commands import Run
from tests.support.paths import ROOT

pytestmark = MARKS
DAG_ID = "review_pipeline"
TRAIN = "--arch rnn --epochs 300 --embedding-dim 4 --hidden-dim 4 --no-baseline --checkpoint-every 5"
DAGS = f"""\
import importlib.util
from datetime import timedelta

spec = importlib.util.spec_from_file_location("airflow_dag", "{ROOT}/jobs/schedule/airflow_dag.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
review_pipeline = module.dag
for task in review_pipeline.tasks:
    task.retry_delay = timedelta(seconds=2)
    task.retries = 20
"""
"""The DAG as it is, but with short delays."""


def test_a_worker_that_dies_is_retried_and_nothing_is_doubled(tmp_path: Path, command: Run) -> None:
    lake = tmp_path / "lake"
    score = ("--score-input", lake / "incoming/new.parquet", "--score-reviews", 12)
    assert command("sample", lake / "raw", "--reviews", 60, "--test-reviews", 10, "--unsup", 4, *score).code == 0
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "dags.py").write_text(DAGS)
    environment = make_environment(tmp_path, dags) | {
        "PIPELINE_LAKE": str(lake),
        "PIPELINE_SCHEDULE": "@once",
        "PIPELINE_TRAIN_OPTIONS": TRAIN,
    }
    with standalone(environment, tmp_path / "standalone.log"):
        wait_for(lambda: DAG_ID in output(environment, str(AIRFLOW / "airflow"), "dags", "list"), 240, 2)
        output(environment, str(AIRFLOW / "airflow"), "dags", "unpause", "-y", DAG_ID)
        wait_for(lambda: [*lake.glob("checkpoints/*/epoch-*.safetensors")], 240)
        (training,) = lake.glob("checkpoints/*")

        (first,) = trainings(lake)
        for process in (parent(first), first):  # as if the machine had been switched off
            os.kill(process, signal.SIGKILL)
        wait_for(lambda: [process for process in trainings(lake) if process != first], 240)
        (second,) = trainings(lake)
        os.kill(parent(second), signal.SIGKILL)  # the worker alone: its command goes on, and retries find the lake locked

        wait_for(lambda: next(iter(states(environment).values()))["state"] in ("success", "failed"), 600, 5)
        (run,) = states(environment).values()
    assert run["state"] == "success", run
    tasks = run["tasks"]
    assert (tasks["ingest"][0], tasks["score"][0]) == ("success", "success")
    assert tasks["train"][0] == "skipped", "what the worker's command went on with was finished when it was asked for again"
    assert tasks["train"][1] >= 3
    assert [path.name for path in lake.glob("models/rnn-*")] == [training.name], "one model, the one that was begun"
    assert sum(shard.rows for shard in TokenTable.open(lake / "tokens").shards) == 74
    assert scored_rows(lake) == 12
    codes = [json.loads(path.read_text())["exit_code"] for path in sorted(lake.glob("runs/*-train-*.json"))]
    assert 75 in codes and sorted({*codes}) == [0, 75, 99]
    assert codes.count(0) == 1, "it was finished once"


@contextmanager
def standalone(environment: Environment, log: Path) -> Iterator[None]:
    """A whole Airflow: scheduler, DAG processor, API server, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    more = {
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    }
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(AIRFLOW / "airflow"), "standalone"],
            stdout=file,
            stderr=file,
            env=environment | more,
            cwd=environment["HOME"],
        )
        try:
            yield
        finally:
            # Its parts are in sessions of their own, but all of them have its home.
            for number in (signal.SIGTERM, signal.SIGKILL):
                for part in of_home(environment["HOME"]):
                    with suppress(ProcessLookupError):
                        os.kill(part, number)
                until = time.monotonic() + 30
                while of_home(environment["HOME"]) and time.monotonic() < until:
                    time.sleep(0.2)
                    process.poll()


def of_home(home: str) -> list[int]:
    """The running processes that have this home folder."""
    return [process for process in processes() if f"HOME={home}".encode() in content(process, "environ")]


def trainings(lake: Path) -> list[int]:
    """The processes that run `pipeline train` on this lake."""
    return [process for process in processes() if {b"-m", b"train", os.fsencode(lake)} <= {*content(process, "cmdline")}]


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def content(process: int, name: str) -> list[bytes]:
    """What a file in /proc lists; nothing of a process that is gone."""
    with suppress(OSError):
        return Path(f"/proc/{process}/{name}").read_bytes().split(b"\0")
    return []


def states(environment: Environment) -> dict[str, Any]:
    said = output(environment, str(AIRFLOW / "python"), str(ROOT / "tests" / "schedule" / "run_states.py"), DAG_ID)
    return json.loads(said.strip().splitlines()[-1])
