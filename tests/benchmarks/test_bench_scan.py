"""The benchmark of the scan runs on small input; its figures mean nothing here."""

import pytest

from tests.benchmarks import bench_scan


@pytest.mark.benchmark
def test_smoke(capsys: pytest.CaptureFixture[str]) -> None:
    found = bench_scan.main(["--smoke", "--arch", "bimingru", "bilru"])
    names = {"loop ÷ scan", "bimingru: step, bilstm ÷ it", "bilru: step, bilstm ÷ it", "bimingru: score, bilstm ÷ it"}
    assert names <= set(found) and all(value > 0 for value in found.values())
    table = capsys.readouterr().out
    assert all(f"| {name} |" in table for name in ("triad", "scan, forward and backward", "`bilstm`", "`bimingru`"))
