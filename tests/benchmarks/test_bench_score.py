"""The benchmark of scoring on small input: every peer agrees with us, and every ratio is there. No speed is asserted."""

import pytest

from tests.benchmarks import bench_score, harness


@pytest.mark.benchmark
def test_smoke(capsys: pytest.CaptureFixture[str]) -> None:
    ratios = bench_score.main(["--smoke"])
    bare = {bench_score.BARE, "torch's layers, a batch a core", "torch's layers, all cores a batch"}
    assert {bench_score.OURS, "plain PyTorch", "the book, one at a time", *bare} <= set(ratios)
    assert all(ratio > 0 for ratio in ratios.values())
    assert ratios[bench_score.OURS] == 1.0
    table = capsys.readouterr().out
    assert all(f"| {name} |" in table for name in ratios)


@pytest.mark.benchmark
def test_a_contestant_that_fails_is_named_with_what_it_said() -> None:
    failing = harness.Contestant(name="broken", command=["sh", "-c", "echo no such thing >&2; exit 3"])
    with pytest.raises(RuntimeError, match=r"broken ended with 3:\nno such thing"):
        harness.run_in_turn([failing], rounds=1)


@pytest.mark.benchmark
def test_wall_time_memory_and_printed_figures_are_taken() -> None:
    code = "import time; block = bytearray(200 << 20); time.sleep(0.2); print('{\"loop_seconds\": 1.5}')"
    contestant = harness.Contestant(name="known", command=["python", "-c", code])
    result = harness.run_in_turn([contestant], rounds=2)["known"]
    assert 0.2 <= result.median < 30
    assert 200 * harness.MIB <= result.peak < 400 * harness.MIB
    assert result.figure("loop_seconds") == 1.5
