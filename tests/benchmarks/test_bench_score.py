"""The scoring benchmark runs on small input: outputs agree and ratios are there; speed is not looked at."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.benchmark
def test_outputs_agree_and_ratios_are_there() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.bench_score", "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert "| pipeline score |" in done.stdout.replace("**", "")
    assert '"ratios"' in done.stdout.splitlines()[-1]
