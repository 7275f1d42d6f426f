"""The ingest benchmark on small input: outputs agree, and every ratio is there. No speed is asserted."""

import json
import subprocess
import sys

import pytest

from tests.support.paths import ROOT


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("case", "others"),
    [
        ("files", {"bare floor", "the book's loop"}),
        ("csv", {"bare floor"}),
        ("jsonl", {"bare floor"}),
        ("tar", {"pipeline ingest, unpacked files"}),
    ],
)
def test_smoke(case: str, others: set[str]) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.bench_ingest", "--smoke", "--case", case]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    ratios = json.loads(done.stdout.splitlines()[-1])["ratios"]
    assert {"pipeline ingest"} | others <= set(ratios)
    assert all(ratio > 0 for ratio in ratios.values())
