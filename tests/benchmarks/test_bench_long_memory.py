"""Long memory: the recurrences that keep norms solve problems at a length where a plain RNN learns nothing."""

import pytest

from tests.benchmarks.long_memory import chance, solve


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("problem", "arch", "length", "steps"), [("copying", "unitary-rnn", 60, 300), ("adding", "goru", 100, 1000)]
)
def test_solves_what_a_plain_rnn_does_not(problem: str, arch: str, length: int, steps: int) -> None:
    guess = chance(problem, length)
    error, taken = solve(problem, arch, length, steps=steps)
    assert error < guess / 10, f"{arch} after {taken} steps"
    error, _ = solve(problem, "rnn", length, steps=2 * taken)
    assert error > guess / 2, f"rnn after {2 * taken} steps"
