"""The DAG in a real Airflow 3, in the environment that `make airflow` makes: green, then skipped when nothing is new."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.commands import Run
from tests.support.paths import ROOT

AIRFLOW = Path(os.environ.get("AIRFLOW_VENV", ROOT / ".venv-airflow")) / "bin"

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (AIRFLOW / "airflow").exists(), reason="'make airflow' has not made .venv-airflow"),
]


def test_three_tasks_are_green_then_skipped(tmp_path: Path, command: Run) -> None:
    lake = tmp_path / "lake"
    score = ("--score-input", lake / "incoming/new.parquet", "--score-reviews", 12)
    assert command("sample", lake / "raw", "--reviews", 60, "--test-reviews", 10, "--unsup", 4, *score).code == 0
    executable = tmp_path / "pipeline"
    executable.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m pipeline "$@"\n')
    executable.chmod(0o755)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "jobs" / "schedule"),
        "PIPELINE": str(executable),
        "PIPELINE_LAKE": str(lake),
        "PIPELINE_TRAIN_OPTIONS": "--arch rnn --epochs 1 --embedding-dim 4 --hidden-dim 4",
    }
    command(environment, str(AIRFLOW / "airflow"), "db", "migrate")

    first = dag_run(environment)
    assert first["tasks"] == {"ingest": "success", "train": "success", "score": "success"}, first
    receipts = first["receipts"]
    assert (receipts["ingest"]["written"], receipts["score"]["written"]) == (74, 12)
    assert pq.read_metadata(lake / "predictions" / "incoming" / "new.parquet").num_rows == 12
    assert first["foreign"] == []

    second = dag_run(environment)
    assert second["tasks"] == {"ingest": "skipped", "train": "skipped", "score": "skipped"}, second


def dag_run(environment: dict[str, str]) -> dict[str, Any]:
    """One `dag.test()`: the states of the tasks and their receipts."""
    said = command(environment, str(AIRFLOW / "python"), str(ROOT / "tests" / "schedule" / "run_dag.py"))
    return json.loads(said.strip().splitlines()[-1])


def command(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, env=environment, cwd=environment["HOME"], timeout=420, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
