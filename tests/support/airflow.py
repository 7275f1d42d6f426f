"""A real Airflow 3, in the environment that `make airflow` makes."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.paths import ROOT

AIRFLOW = ROOT / os.environ.get("AIRFLOW_VENV", ".venv-airflow") / "bin"

MARKS = [
    pytest.mark.airflow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (AIRFLOW / "airflow").exists(), reason="'make airflow' has not made .venv-airflow"),
]

Environment = dict[str, str]


def make_environment(home: Path, dags: Path = ROOT / "jobs" / "schedule") -> Environment:
    """The environment variables of an Airflow with a new database, and with our pipeline as the command."""
    ours = executable(home / "our pipeline", f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m pipeline "$@"')
    environment = {
        "PATH": f"{AIRFLOW}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "PIPELINE": shlex.quote(str(ours)),
    }
    output(environment, str(AIRFLOW / "airflow"), "db", "migrate")
    return environment


def executable(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def output(environment: Environment, *words: str) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, env=environment, cwd=environment["HOME"], timeout=420, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def wait_for(condition: Callable[[], object], seconds: float = 120, pause: float = 0.05) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(pause)


def scored_rows(lake: Path) -> int:
    """The rows of all predictions of a lake."""
    return sum(pq.read_metadata(path).num_rows for path in lake.glob("predictions/**/*.parquet"))
