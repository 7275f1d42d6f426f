"""The benchmark of the Python API on small input: the outputs agree, and every figure is there. No speed is asserted."""

import pytest

from tests.benchmarks import bench_api


@pytest.mark.benchmark
def test_smoke(capsys: pytest.CaptureFixture[str]) -> None:
    shares = bench_api.main(["--smoke"])
    assert set(shares) == {"predict_table", "predict"}
    assert all(share > 0 for share in shares.values())
    table = capsys.readouterr().out
    assert all(f"| {name} |" in table for name in ("pipeline score", *shares))
