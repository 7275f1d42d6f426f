"""The benchmark of engines on small input: each writes the same bytes, and every line is there. No speed is asserted."""

import json
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytest.importorskip("ray", reason="Ray is not installed: pip install 'review-pipeline[ray]'")


@pytest.mark.benchmark
def test_smoke() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.bench_engines", "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    ratios = json.loads(done.stdout.splitlines()[-1])["ratios"]
    assert len(ratios) == 6
    assert all(ratio > 0 for ratio in ratios.values())
