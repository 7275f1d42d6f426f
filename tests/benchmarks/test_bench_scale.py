"""The benchmark of scale on small input: every row is written, every command is in the table. No speed is asserted."""

import json
import subprocess
import sys

import pytest

from tests.support.paths import ROOT


@pytest.mark.benchmark
def test_smoke() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.bench_scale", "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
    names = ("ingest", "train nbsvm", "train bilstm", "score, nbsvm", "ingest, night 1", "ingest, night 2")
    assert list(seconds) == [f"400-disk-local-2 {name}" for name in names]
    rows = [line for line in done.stdout.splitlines() if line.startswith("| 400 ")]
    assert len(rows) == len(names) and all(line.count("|") == rows[0].count("|") for line in rows)
