"""The Python API beside `pipeline score`: the same 25,000 reviews and model, whole processes, run in pairs.

    python -m tests.benchmarks.bench_api                        25,000 reviews, 7 pairs, bilstm 128
    python -m tests.benchmarks.bench_api --arch rnn --hidden 32
    python -m tests.benchmarks.bench_api --check                exits with 1 if the API has less than 95 % of the speed
    python -m tests.benchmarks.bench_api --smoke                small: agreement, no speed

A round runs all three once, so each pair meets the same state of the machine. A share is the time of `pipeline score`
divided by the API's in the same round; the table shows the median and the range over the rounds.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pyarrow.parquet as pq

from tests.benchmarks.bench_score import make_bundle
from tests.benchmarks.harness import Contestant, Result, Row, machine, markdown, run_in_turn, workplace
from tests.benchmarks.reviews import write_reviews

PEER = Path(__file__).parent / "peers" / "score_api.py"
COMMAND = "pipeline score"
METHODS = ("predict_table", "predict")
TARGET = 0.95
"""Share of the command's speed that the API must reach."""
TOLERANCE = 1e-6


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Runs the benchmark; returns the share of the command's speed that each method reaches."""
    options = _options(arguments)
    if options.smoke:
        options.rows, options.rounds, options.hidden = 120, 1, 8
    with workplace(None, "bench-api-") as folder:
        source = folder / "reviews.parquet"
        kind = write_reviews(source, options.rows)
        bundle = make_bundle(folder / "lake", source, options.arch, options.hidden)
        results = run_in_turn(_contestants(folder, source, bundle), options.rounds)
        _check_agreement(folder)
    rows = [Row.of(result) for result in results.values()]
    print(f"\n{kind}, {options.arch} {options.hidden}, {options.rounds} pairs, {machine()}\n")
    print(markdown(rows, COMMAND, options.rows, "reviews"))
    shares = {name: _shares(results[COMMAND], results[name]) for name in METHODS}
    for name, each in shares.items():
        print(f"\n{name}: {statistics.median(each):.1%} of the speed of {COMMAND}, {min(each):.1%} to {max(each):.1%}")
    medians = {name: statistics.median(each) for name, each in shares.items()}
    print(json.dumps({"shares": {name: round(share, 3) for name, share in medians.items()}}))
    if options.check and min(medians.values()) < TARGET:
        raise SystemExit(1)
    return medians


def _contestants(folder: Path, source: Path, bundle: Path) -> list[Contestant]:
    score = ["-m", "pipeline", "-q", "score", source, "--lake", folder / "lake", "--output", folder / "command.parquet"]
    found = [Contestant(name=COMMAND, command=[sys.executable, *score, "--force"])]
    for method in METHODS:
        paths = ["--input", source, "--bundle", bundle, "--output", folder / f"{method}.npy"]
        found.append(Contestant(name=method, command=[sys.executable, PEER, "--method", method, *paths]))
    return found


def _shares(command: Result, method: Result) -> list[float]:
    return [ours / theirs for ours, theirs in zip(command.seconds, method.seconds, strict=True)]


def _check_agreement(folder: Path) -> None:
    expected = pq.read_table(folder / "command.parquet", columns=["probability_pos"])["probability_pos"].to_numpy()
    assert np.isfinite(expected).all()
    for method in METHODS:
        difference = float(np.abs(np.load(folder / f"{method}.npy") - expected).max())
        if difference > TOLERANCE:
            raise AssertionError(f"{method} differs from {COMMAND} by {difference:.2e}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark of the Python API.")
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--arch", default="bilstm")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
