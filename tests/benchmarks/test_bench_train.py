"""The training benchmarks run on small input; their figures mean nothing here."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import bench_train
from tests.benchmarks.train_cases import BOOK_RNN

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


@pytest.mark.benchmark
def test_smoke(capsys: pytest.CaptureFixture[str]) -> None:
    ratios = bench_train.main(["--smoke"])
    bare = {"bare kernels", "bare kernels, malloc as ours"}
    assert {bench_train.OURS, "packed sequences", BOOK_RNN, *bare} <= set(ratios)
    assert ratios[bench_train.OURS] == 1.0 and all(ratio > 0 for ratio in ratios.values())
    table = capsys.readouterr().out
    assert all(f"| {name} |" in table for name in ratios)


@pytest.mark.benchmark
def test_other_losses_are_named(tmp_path: Path) -> None:
    for name, losses in (("ours", [0.7, 0.6]), ("theirs", [0.7, 0.6001])):
        np.save(tmp_path / f"{name}.npy", np.array(losses))
    bench_train.check_losses(tmp_path, ["ours", "theirs"], 1)
    with pytest.raises(AssertionError, match=r"theirs has other losses than ours: they differ by 1.0e-04"):
        bench_train.check_losses(tmp_path, ["ours", "theirs"], 2)
