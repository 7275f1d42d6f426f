"""`pipeline train` beside its peers, as whole processes, on the same reviews.

    python -m tests.benchmarks.bench_train               steps of bilstm 128: packed sequences, the bare kernels
    python -m tests.benchmarks.bench_train --book        an epoch of the book's RNN exercise
    python -m tests.benchmarks.bench_train --target .85  from raw files to this accuracy; long, --epochs limits it
    python -m tests.benchmarks.bench_train --costs       what each part of a step costs
    python -m tests.benchmarks.bench_train --settings    precision, threads, windows, padding, ranks
    python -m tests.benchmarks.bench_train --smoke       the first two, small: agreement, no speed

Reviews: the IMDb archive where it is at hand, else generated ones; `--reuse FOLDER` keeps what is ingested of them.
All contestants run with the same GOMP_SPINCOUNT, ours. Prints Markdown tables.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pipeline.process import SPIN_COUNT
from tests.benchmarks.corpus import write_folder
from tests.benchmarks.harness import ROOT, Contestant, Result, Row, machine, markdown, run_in_turn, workplace
from tests.benchmarks.train_cases import book_contestants, book_rows, target_contestants, target_rows

PEERS = Path(__file__).parent / "peers"
OURS = "pipeline train"
TOLERANCE = 1e-5
AGREED_STEPS, DOUBLE_HIDDEN = 16, 16
"""Adam divides by the gradient's own size, so that in float32 the last digit of a small one is a step in another direction,
and two trainings that differ in rounding alone part after some twenty steps. So the first ones are compared in float32,
and all of them in float64, with a small model."""
INGEST_OF_THE_BOOK = ("--tokenizer", "punctuation", "--max-vocab", "0")


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Runs the benchmark; gives each row's time as a multiple of ours."""
    options = _options(arguments)
    if options.smoke:
        options.rounds, options.steps, options.hidden, options.epochs = 1, 7, 8, 1
    os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    with workplace(options.reuse, "bench-train-") as folder:
        return _bench(options, folder)


def _bench(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    raw = folder / "raw"
    if not raw.exists():
        print(write_folder(raw, 1, smoke=options.smoke), file=sys.stderr)
    if options.target:
        return _target(options, folder, raw)
    if options.book:
        return _book(options, folder, raw)
    lake = ingested(folder / "lake", raw)
    if options.costs or options.settings:
        from tests.benchmarks import train_costs, train_settings

        print((train_costs if options.costs else train_settings).tables(lake, options.arch, options.hidden, options))
        return {}
    ratios = _steps(options, folder, lake)
    return {**ratios, **_book(options, folder, raw)} if options.smoke else ratios


def _steps(options: argparse.Namespace, folder: Path, lake: Path) -> dict[str, float]:
    def contestant(name: str, script: str, *more: object, note: str = "") -> Contestant:
        output = folder / f"{name}.npy"
        command = [sys.executable, PEERS / script, "--lake", lake, "--output", output, "--hidden", options.hidden]
        return Contestant(name=name, command=[*command, "--steps", options.steps, *more], note=note)

    results = run_in_turn(
        [
            contestant(OURS, "train_ours.py", note="the whole loop: loader, clipping, averages, progress"),
            contestant("packed sequences", "train_packed.py", note="batches ready in memory"),
            contestant("bare kernels", "train_bare.py", note="batches ready in memory"),
            contestant("bare kernels, malloc as ours", "train_bare.py", "--keep-memory", note="batches ready in memory"),
        ],
        options.rounds,
    )
    check_losses(folder, list(results), AGREED_STEPS)
    exact = ("--double", "--hidden", DOUBLE_HIDDEN)
    doubles = [
        contestant("bare, float64", "train_bare.py", *exact),
        contestant("packed, float64", "train_packed.py", *exact),
    ]
    check_losses(folder, list(run_in_turn(doubles, 1)), options.steps)
    rows = [_loop_row(result) for result in results.values()]
    steps = int(results[OURS].figure("steps"))
    print(f"\nbilstm {options.hidden}, {steps} steps of 64 reviews, dropout 0, {options.rounds} rounds, {machine()}\n")
    return finish(rows, OURS, steps, "steps")


def _book(options: argparse.Namespace, folder: Path, raw: Path) -> dict[str, float]:
    lake = ingested(folder / "book-lake", raw, *INGEST_OF_THE_BOOK)
    contestants = book_contestants(lake, options.epochs, OURS)
    results = run_in_turn(contestants, 1 if options.smoke else options.rounds)
    reviews, rows = book_rows(results, lake, options.epochs, OURS)
    print(f"\nthe book's RNN exercise, {options.epochs} epochs, films held out, seconds of an epoch, {machine()}\n")
    return finish(rows, f"{OURS} --config book-rnn", reviews, "reviews")


def _target(options: argparse.Namespace, folder: Path, raw: Path) -> dict[str, float]:
    contestants = target_contestants(folder, raw, options, ingested(folder / "lake", raw))
    results = run_in_turn(contestants, 1)
    rows = target_rows(results, options)
    print(f"\nfrom raw files to {options.target:.0%} on validation films, {machine()}\n")
    return finish(rows, rows[0].name, 1, "runs")


def ingested(lake: Path, raw: Path, *options: str) -> Path:
    """The lake with the raw files ingested; once."""
    if not (lake / "tokens").exists():
        command = [sys.executable, "-m", "pipeline", "-q", "--lake", lake, "ingest", raw, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return lake


def check_losses(folder: Path, names: Sequence[str], steps: int) -> None:
    """Raises unless the losses of the first steps are the same for every contestant."""
    ours = np.load(folder / f"{names[0]}.npy")
    assert len(ours) and np.isfinite(ours).all()
    for name in names[1:]:
        theirs = np.load(folder / f"{name}.npy")
        assert len(theirs) == len(ours), f"{name} took {len(theirs)} steps, {names[0]} {len(ours)}"
        difference = float(np.abs(theirs - ours)[:steps].max())
        print(f"{name}: a step's loss differs by {difference:.1e} at most over the first {steps}", file=sys.stderr)
        if difference > TOLERANCE:
            raise AssertionError(f"{name} has other losses than {names[0]}: they differ by {difference:.1e}")


def finish(rows: Sequence[Row], reference: str, items: int, unit: str) -> dict[str, float]:
    """Prints the table and the ratios."""
    print(markdown(rows, reference, items, unit))
    base = next(row.seconds for row in rows if row.name == reference)
    ratios = {row.name: row.seconds / base for row in rows}
    print(json.dumps({"ratios": {name: round(ratio, 3) for name, ratio in ratios.items()}}))
    return ratios


def _loop_row(result: Result) -> Row:
    loops = result.figures["loop_seconds"]
    return Row(
        name=result.contestant.name,
        seconds=result.figure("loop_seconds"),
        spread=(min(loops), max(loops)),
        peak=result.peak,
        note=result.contestant.note,
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark of pipeline train.")
    parser.add_argument("--steps", type=int, default=45, help="the first 5 are not timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arch", default="bilstm", help="of --costs and --settings")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3, help="of --book and at most of --target")
    parser.add_argument("--book", action="store_true")
    parser.add_argument("--target", type=float, default=0.0, metavar="ACCURACY")
    parser.add_argument("--costs", action="store_true")
    parser.add_argument("--settings", action="store_true")
    parser.add_argument("--reuse", help="keep inputs and outputs in this folder")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
