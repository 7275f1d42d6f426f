"""The scan, and the architectures that live on it, beside what they replace.

    python -m tests.benchmarks.bench_scan                  all three parts
    python -m tests.benchmarks.bench_scan --only layer     the scan beside a loop over positions and the memory's bandwidth
    python -m tests.benchmarks.bench_scan --only step      training steps of bimingru 128 beside bilstm 128
    python -m tests.benchmarks.bench_scan --only score     scoring with the two
    python -m tests.benchmarks.bench_scan --arch bisru biqrnn …       others beside bilstm
    python -m tests.benchmarks.bench_scan --smoke          small, no speed

Bandwidth: bytes that have to move (three arrays forward, five backward) per second of the fastest round, beside those of a
STREAM triad c = a + s b over arrays that no cache holds, in the same run. Steps: `pipeline train`'s own loop as whole
processes in turn. Scoring: `pipeline score`'s predictor on reviews tokenized beforehand, in turn. Prints Markdown tables.

Source: McCalpin 1995, "Memory bandwidth and machine balance in current high performance computers", the triad.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pyarrow.parquet as pq
import torch

from pipeline.batches.ragged import Ragged
from pipeline.datapipes.score_encode import encode_texts
from pipeline.models.bundle import read_bundle
from pipeline.models.layers import scan_kernel, scan_torch
from pipeline.models.layers.scan import joint_gated_average, scan
from pipeline.process import SPIN_COUNT, keep_freed_memory
from tests.benchmarks import bench_score, bench_train
from tests.benchmarks.bench_score_variants import timed, variants
from tests.benchmarks.corpus import write_folder
from tests.benchmarks.harness import Contestant, machine, run_in_turn, workplace
from tests.benchmarks.reviews import write_reviews

REFERENCE = "bilstm"
PARTS = ("layer", "step", "score")
TRIAD_NUMBERS = 1 << 25
MOVED = {"forward": 3, "forward and backward": 8}
"""Arrays that a scan reads or writes."""
PEERS = Path(__file__).parent / "peers"


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Runs the benchmark; gives each figure by its name: times are multiples of ours, bandwidths of the triad's."""
    options = _options(arguments)
    if options.smoke:
        options.rounds = options.process_rounds = 1
        options.steps, options.rows, options.hidden = 8, 60, 8
        options.tokens, options.batch, options.numbers = 20, 4, 1 << 12
    os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    keep_freed_memory()
    found: dict[str, float] = {}
    with workplace(options.reuse, "bench-scan-") as folder:
        for part in options.only or PARTS:
            found |= {"layer": _layer, "step": _step, "score": _score}[part](options, folder)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))
    return found


def _layer(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    sizes = (options.tokens, options.batch, options.hidden)
    decay, values = torch.rand(sizes, requires_grad=True), torch.randn(sizes, requires_grad=True)
    both = torch.randn(*sizes[:2], 2 * sizes[2], requires_grad=True)
    weight = torch.randn(sizes)
    a, b, c = torch.rand(options.numbers), torch.rand(options.numbers), torch.empty(options.numbers)
    scanned = (decay, values)
    calls: dict[str, Callable[[], object]] = {
        "triad": lambda: torch.add(a, b, alpha=3.0, out=c),
        "scan, forward": lambda: scan(decay.detach(), values.detach()),
        "scan, forward and backward": lambda: torch.autograd.grad(scan(*scanned), scanned, weight),
        "gated average, forward and backward": lambda: torch.autograd.grad(joint_gated_average(both), both, weight),
        "doubling, forward and backward": lambda: scan_torch.scan_gradient(
            weight, decay.detach(), scan_torch.scan(decay.detach(), values.detach(), None, sizes[2]), None, sizes[2]
        ),
        "loop, forward and backward": lambda: torch.autograd.grad(_loop(*scanned), scanned, weight),
    }
    seconds = _in_turn(calls, options.rounds)
    best = {name: min(taken) for name, taken in seconds.items()}
    triad = 3 * a.element_size() * options.numbers / best["triad"]
    array = weight.element_size() * weight.numel()
    kernel = "compiled" if scan_kernel.COMPILED else "not compiled"
    print(f"\nT {sizes[0]}, B {sizes[1]}, H {sizes[2]}, float32, kernel {kernel}, {options.rounds} rounds, {machine()}\n")
    print("| | ms, median | ms, best | GB/s | ÷ triad |\n|---|---:|---:|---:|---:|")
    found = {}
    for name, taken in seconds.items():
        moved = 3 * a.element_size() * options.numbers if name == "triad" else 0
        if name.startswith("scan"):
            moved = array * MOVED[name.removeprefix("scan, ")]
        speed = moved / best[name]
        share = f"{speed / 1e9:.1f} | {speed / triad:.2f}" if moved else "|"
        print(f"| {name} | {statistics.median(taken) * 1e3:.2f} | {best[name] * 1e3:.2f} | {share} |")
        if name.startswith("scan"):
            found[f"{name}: bandwidth ÷ triad"] = speed / triad
    ours = statistics.median(seconds["scan, forward and backward"])
    found["loop ÷ scan"] = statistics.median(seconds["loop, forward and backward"]) / ours
    print(f"\nThe loop takes {found['loop ÷ scan']:.1f} times as long as the scan (medians).")
    return found


def _loop(decay: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """What one writes without a scan: a loop over `unbind`."""
    state = torch.zeros_like(values[0])
    states = []
    for keep, value in zip(decay.unbind(0), values.unbind(0), strict=True):
        state = torch.addcmul(value, keep, state)
        states.append(state)
    return torch.stack(states)


def _in_turn(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _step(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    raw = folder / "raw"
    if not raw.exists():
        print(write_folder(raw, 1, smoke=options.smoke), file=sys.stderr)
    lake = bench_train.ingested(folder / "lake", raw)
    command = [sys.executable, PEERS / "train_ours.py", "--lake", lake, "--hidden", options.hidden, "--steps", options.steps]
    names = [REFERENCE, *options.arch]
    contestants = [Contestant(name=name, command=[*command, "--arch", name]) for name in names]
    results = run_in_turn(contestants, options.process_rounds)
    base = results[REFERENCE]
    steps = int(base.figure("steps"))
    print(f"\nhidden {options.hidden}, {steps} steps of 64 reviews, the whole loop, {machine()}\n")
    print("| `--arch` | ms a step, median | from, to | tokens/s | `bilstm` ÷ it |\n|---|---:|---|---:|---:|")
    found = {}
    for name, result in results.items():
        taken = [seconds / steps * 1e3 for seconds in result.figures["loop_seconds"]]
        speed = result.figure("tokens") / result.figure("loop_seconds")
        ratio = base.figure("loop_seconds") / result.figure("loop_seconds")
        median = statistics.median(taken)
        print(f"| `{name}` | {median:.1f} | {min(taken):.1f} to {max(taken):.1f} | {speed:,.0f} | {ratio:.2f} |")
        if name != REFERENCE:
            found[f"{name}: step, {REFERENCE} ÷ it"] = ratio
    return found


def _score(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    source = folder / f"reviews-{options.rows}.parquet"
    kind = write_reviews(source, options.rows)
    names = [REFERENCE, *options.arch]
    bundles = {name: read_bundle(bench_score.make_bundle(folder / "score", source, name, options.hidden)) for name in names}
    ids, _ = encode_texts(bundles[REFERENCE].load_vocabulary(), pq.read_table(source)["text"].combine_chunks())
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.process_rounds):
        for name, bundle in bundles.items():
            seconds[name].append(timed(bundle, ids, variants()[0]))
    tokens = int(Ragged.from_lists(ids, bundles[REFERENCE].max_length).lengths.sum())
    base = statistics.median(seconds[REFERENCE])
    print(f"\n{kind}, hidden {options.hidden}, token ids to probabilities, {options.process_rounds} rounds, {machine()}\n")
    print("| `--arch` | seconds, median | from, to | reviews/s | tokens/s | `bilstm` ÷ it |\n|---|---:|---|---:|---:|---:|")
    found = {}
    for name, taken in seconds.items():
        median = statistics.median(taken)
        speeds = f"{len(ids) / median:,.0f} | {tokens / median:,.0f}"
        print(f"| `{name}` | {median:.2f} | {min(taken):.2f} to {max(taken):.2f} | {speeds} | {base / median:.2f} |")
        if name != REFERENCE:
            found[f"{name}: score, {REFERENCE} ÷ it"] = base / median
    return found


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark of the scan and of the architectures that use it.")
    parser.add_argument("--only", nargs="+", choices=PARTS)
    parser.add_argument("--arch", nargs="+", default=["bimingru"])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=400, help="T of the layer")
    parser.add_argument("--batch", type=int, default=64, help="B of the layer")
    parser.add_argument("--numbers", type=int, default=TRIAD_NUMBERS, help="float32 in each array of the triad")
    parser.add_argument("--rounds", type=int, default=15, help="of the layer")
    parser.add_argument("--process-rounds", type=int, default=3, help="of steps and scoring")
    parser.add_argument("--steps", type=int, default=45, help="the first 5 are not timed")
    parser.add_argument("--rows", type=int, default=25_000, help="reviews to score")
    parser.add_argument("--reuse", help="keep inputs and outputs in this folder")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
