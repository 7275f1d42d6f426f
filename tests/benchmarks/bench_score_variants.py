"""Which way of running the forward pass is the fastest: padding or none, threads, batch size, window, precision.

    python -m tests.benchmarks.bench_score_variants                  bilstm 128 and rnn 32, 6,000 reviews, 3 rounds
    python -m tests.benchmarks.bench_score_variants --arch lstm --hidden 256

In one process, reviews tokenized beforehand, the variants in turn; the first line of each table is the default.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.batches.ragged import Ragged, plan_batches
from pipeline.config.score import DEFAULT_BATCH_SIZE
from pipeline.datapipes.score_encode import encode_texts
from pipeline.engines.score import WINDOW_ROWS
from pipeline.models.bundle import Bundle, read_bundle
from pipeline.scoring.options import TOKENS_PER_REVIEW
from pipeline.scoring.predictor import Predictor
from tests.benchmarks.bench_score import make_bundle
from tests.benchmarks.harness import machine
from tests.benchmarks.reviews import write_reviews


@dataclass(frozen=True, kw_only=True)
class Variant:
    """`threads` 0: one batch on all cores at a time; otherwise so many batches at once, one core each. `padded`: by torch's
    layers, as it always is in bf16.
    """

    name: str
    threads: int
    batch_size: int = DEFAULT_BATCH_SIZE
    window: int = WINDOW_ROWS
    precision: str = "fp32"
    padded: bool = False


def variants() -> list[Variant]:
    """The default first."""
    default = Variant(name="default: a batch a core", threads=torch.get_num_threads())
    padded = replace(default, name="padded", padded=True)
    return [
        default,
        padded,
        replace(padded, name="padded, --precision bf16", precision="bf16"),
        replace(default, name="one batch on all cores", threads=0),
        *(replace(default, name=f"--batch-size {size}", batch_size=size) for size in (8, 16, 32, 128, 256)),
        *(replace(padded, name=f"padded, --batch-size {size}", batch_size=size) for size in (32, 128)),
        *(replace(default, name=f"window {rows:,} rows", window=rows) for rows in (512, 2048)),
    ]


def timed(bundle: Bundle, ids: pa.ListArray, variant: Variant) -> float:
    """Seconds to score `ids`, window after window as the job does; the first ones are scored once before."""
    with Predictor(bundle, "cpu", variant.batch_size, variant.precision, threads=variant.threads or 1) as predictor:
        if not variant.threads:
            predictor.pool.submit(torch.set_num_threads, predictor.threads_before).result()
        if variant.padded:
            predictor.packed, predictor.max_tokens = None, 2 * predictor.attribution_tokens
        predictor.predict(ids[:200])
        started = time.perf_counter()
        pending = [predictor.submit(ids[begin : begin + variant.window]) for begin in range(0, len(ids), variant.window)]
        for part in pending:
            part.result()
        return time.perf_counter() - started


def padding(bundle: Bundle, ids: pa.ListArray, variant: Variant) -> float:
    """Share of the computed positions that are padding."""
    used = total = 0
    for begin in range(0, len(ids), variant.window):
        lengths = Ragged.from_lists(ids[begin : begin + variant.window], bundle.max_length).lengths
        used += int(lengths.sum())
        total += sum(len(r) * int(lengths[r].max()) for r in plan_batches(lengths, variant.batch_size * TOKENS_PER_REVIEW))
    return 1 - used / total


def main() -> None:
    parser = argparse.ArgumentParser(description="Variants of the forward pass of pipeline score.")
    parser.add_argument("--rows", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arch")
    parser.add_argument("--hidden", type=int, default=128)
    options = parser.parse_args()
    models = [(options.arch, options.hidden)] if options.arch else [("bilstm", 128), ("rnn", 32)]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "reviews.parquet"
        kind = write_reviews(source, options.rows)
        for arch, hidden in models:
            bundle = read_bundle(make_bundle(Path(folder) / "lake", source, arch, hidden))
            ids, _ = encode_texts(bundle.load_vocabulary(), pq.read_table(source)["text"].combine_chunks())
            print(
                f"\n{kind}, {arch} {hidden}, {options.rounds} rounds, {machine()}\n\n{_table(bundle, ids, options.rounds)}"
            )


def _table(bundle: Bundle, ids: pa.ListArray, rounds: int) -> str:
    choices = variants()
    seconds: dict[str, list[float]] = {variant.name: [] for variant in choices}
    for _ in range(rounds):
        for variant in choices:
            seconds[variant.name].append(timed(bundle, ids, variant))
    tokens = int(np.sum(Ragged.from_lists(ids, bundle.max_length).lengths))
    base = statistics.median(seconds[choices[0].name])
    lines = ["| | seconds (median) | tokens/s | time ÷ default | padding |", "|---|---:|---:|---:|---:|"]
    for variant in choices:
        median = statistics.median(seconds[variant.name])
        share = f"{padding(bundle, ids, variant):.1%}" if variant.padded else "none"
        lines.append(f"| {variant.name} | {median:.2f} | {tokens / median:,.0f} | {median / base:.2f} | {share} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
