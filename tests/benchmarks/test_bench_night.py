"""The benchmark of nights on small input: counts agree, and every figure is there. No speed is asserted."""

import json
import subprocess
import sys

import pytest

from tests.support.paths import ROOT


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("arguments", "figures"), [([], {"200 known", "2,000 known"}), (["--known", "100000"], {"peak_mib"})]
)
def test_smoke(arguments: list[str], figures: set[str]) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.bench_night", "--smoke", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["figures"]
    assert figures <= set(found) and all(figure > 0 for figure in found.values())
