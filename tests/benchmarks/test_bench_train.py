"""The training benchmarks run on small input; their figures mean nothing here."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("script", "options", "rows"),
    [
        ("gpu_train.py", ["--smoke"], ["| lstm | 16 | fp32 |"]),
        ("train_memory.py", ["--sizes", "0.1", "0.3", "--steps", "5", "--hidden-dim", "8"], ["| 0.1 |", "| 0.3 |"]),
    ],
)
def test_runs_and_prints_its_table(script: str, options: list[str], rows: list[str]) -> None:
    done = subprocess.run([sys.executable, str(HERE / script), *options], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    for row in rows:
        assert row in done.stdout
