"""`pipeline score` beside its peers, as whole processes, on the same reviews with the same weights.

    python -m tests.benchmarks.bench_score                      25,000 reviews, 3 rounds, bilstm 128
    python -m tests.benchmarks.bench_score --arch rnn --hidden 32
    python -m tests.benchmarks.bench_score --arch nbsvm         as bag and bimingru; --wide adds n-grams to any network
    python -m tests.benchmarks.bench_score --cores 1            all on one core: fair where others use the machine too
    python -m tests.benchmarks.bench_score --peers PYTHON       with onnxruntime, fasttext  (default: of make_peers.sh)
    python -m tests.benchmarks.bench_score --rows 1000000       beside the bare forward pass and fastText alone
    python -m tests.benchmarks.bench_score --ours-only --reuse FOLDER
    python -m tests.benchmarks.bench_score --smoke              small, under 40 s: agreement, no speed

Weights are random, which costs the same. Checks that all outputs agree to 1e-4, prints a Markdown table.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pyarrow.parquet as pq

from tests.benchmarks.harness import (
    Contestant,
    Result,
    Row,
    has_module,
    machine,
    markdown,
    measure,
    peers_python,
    run_in_turn,
    workplace,
)
from tests.benchmarks.reviews import write_reviews

PEERS = Path(__file__).parent / "peers"
OURS = "pipeline score"
BARE = "our bare forward pass"
TOLERANCE = 1e-4
MAX_LENGTH, LINEAR_LENGTH = 400, 4096
MANY_ROWS = 100_000
"""With as many rows, only the bare forward pass and fastText run beside ours, unless --all."""
NGRAMS, BITS = 3, 22
"""Of n-gram models."""


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Runs the benchmark; gives each row's time as a multiple of ours."""
    options = _options(arguments)
    if options.smoke:
        options.rows, options.book_rows, options.rounds, options.hidden = 120, 10, 1, 8
    if options.cores:
        # Children inherit it. On a busy machine threads that wait for each other lose far more than their share.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
        os.environ["OMP_NUM_THREADS"] = str(options.cores)
    with workplace(options.reuse, "bench-score-") as folder:
        return _bench(options, folder)


def _bench(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    source = folder / f"reviews-{options.rows}.parquet"
    kind = write_reviews(source, options.rows)
    bundle = make_bundle(folder / "lake", source, options.arch, options.hidden, wide=options.wide)
    contestants = _contestants(options, folder, source, bundle)
    results = run_in_turn(contestants, options.rounds)
    _check_agreement(folder, results)
    rows = [_row(result, options) for result in results.values()]
    size = options.hidden if "hidden_dim" in model_options(options.arch) else ""
    name = f"{options.arch} {size}{' with n-grams' if options.wide else ''}".strip()
    title = f"{kind}, {name}, cut at {MAX_LENGTH} tokens, {options.rounds} rounds, {machine()}"
    print(f"\n{title}\n\n{markdown(rows, OURS, options.rows, 'reviews')}")
    ours = next(row.seconds for row in rows if row.name == OURS)
    ratios = {row.name: row.seconds / ours for row in rows}
    print(json.dumps({"ratios": {name: round(ratio, 3) for name, ratio in ratios.items()}}))
    return ratios


def model_options(arch: str) -> tuple[str, ...]:
    """The options of an architecture."""
    from pipeline.models.registry import config_class

    return tuple(field.name for field in dataclasses.fields(config_class(arch)))


def make_bundle(lake: Path, source: Path, arch: str, hidden: int, *, wide: bool = False) -> Path:
    """A bundle with random weights and the vocabulary of the first 25,000 reviews; the lake's LATEST.

    Args:
        hidden: features of each direction, for architectures that have such an option.
        wide: add a linear model of n-grams.
    """
    import torch

    from pipeline.models.blend import Blend, BlendConfig
    from pipeline.models.bundle import save_bundle
    from pipeline.models.layers.ngram_linear import NgramLinear
    from pipeline.models.registry import build_model
    from pipeline.text.tokenizers import tokenize
    from pipeline.text.vocabulary import TokenCounts, build_vocabulary

    counts = TokenCounts()
    texts = next(pq.ParquetFile(source).iter_batches(25_000, columns=["text"]))["text"]
    counts.add(tokenize("basic_english", texts).flatten().dictionary_encode())
    vocabulary = build_vocabulary(counts, "basic_english", ("neg", "pos"), max_vocab=30_000, min_count=1)
    torch.manual_seed(0)
    size = {"hidden_dim": hidden} if "hidden_dim" in model_options(arch) else {}
    model = build_model(arch, {"vocab_size": len(vocabulary), "num_classes": 2, **size})
    if wide:
        blend = BlendConfig(max_length=MAX_LENGTH, scale=0.8, ngram_scale=0.5, ngrams=NGRAMS, bits=BITS)
        model = Blend(model, blend)
    for part in model.modules():
        if isinstance(part, NgramLinear):
            part.set_weights(0.1 * torch.randn_like(part.weights, dtype=torch.float32), part.bias)
    folder = lake / "models" / f"{arch}-{hidden}"
    save_bundle(
        folder,
        model=model,
        arch=arch,
        labels=vocabulary.labels,
        tokenizer=vocabulary.tokenizer,
        max_length=LINEAR_LENGTH if wide or arch == "nbsvm" else MAX_LENGTH,
        vocabulary=vocabulary,
        table_version=None,
        metrics={},
        training={},
        created="2026-01-01T00:00:00Z",
    )
    (lake / "models" / "LATEST").write_text(folder.name + "\n", encoding="utf-8")
    return folder


def _contestants(options: argparse.Namespace, folder: Path, source: Path, bundle: Path) -> list[Contestant]:
    def peer(name: str, script: str, *more: object, python: str = sys.executable, note: str = "") -> Contestant:
        command = [python, PEERS / script, "--input", source, "--bundle", bundle, "--output", folder / f"{name}.npy", *more]
        return Contestant(name=name, command=command, note=note)

    output = folder / f"{OURS}.parquet"
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "-q",
        "score",
        source,
        "--lake",
        folder / "lake",
        "--output",
        output,
        "--force",
    ]
    found = [Contestant(name=OURS, command=command, note="whole process")]
    if options.ours_only:
        return found
    found.append(peer(BARE, "score_bare.py", "--threads", 2, note="the loop alone, on batches that are ready"))
    python = options.peers
    if has_module(python, "fasttext"):
        measure(peer("fastText", "score_fasttext.py", "--threads", -1, python=python))
        note = "whole process, Parquet to Parquet; another model: 10 dimensions, bigrams"
        found.append(peer("fastText", "score_fasttext.py", python=python, note=note))
    if options.rows >= MANY_ROWS and not options.all:
        return found
    found += [
        peer("plain PyTorch", "score_plain.py", note="whole process; DataLoader, file order, batch 64"),
        peer("the book, one at a time", "score_book.py", "--rows", options.book_rows),
        peer("torch's layers, a batch a core", "score_bare.py", "--threads", 1, note="the same loop, the model as it is"),
        peer("torch's layers, all cores a batch", "score_bare.py", "--threads", 0, note="the same loop, the model as it is"),
    ]
    if has_module(python, "onnxruntime") and has_module(python, "onnx"):
        measure(peer("export", "score_onnx.py", "--threads", -1, python=python))
        how = "whole process without torch; our tokenizing and sorted batches, writes no table"
        found += [
            peer("ONNX Runtime, a batch a core", "score_onnx.py", "--threads", 1, python=python, note=how),
            peer("ONNX Runtime, all cores a batch", "score_onnx.py", "--threads", 0, python=python, note=how),
        ]
    return found


def _row(result: Result, options: argparse.Namespace) -> Row:
    name = result.contestant.name
    if name.startswith("the book"):
        loop = result.figure("loop_seconds")
        whole = result.median - loop + loop * options.rows / options.book_rows
        note = f"start-up + {options.book_rows:,} reviews scaled to {options.rows:,}; ids and one probability, no file"
        return Row(name=name, seconds=whole, peak=result.peak, note=note)
    if name == BARE or name.startswith("torch's layers"):
        loops = result.figures["loop_seconds"]
        cpu = result.figure("loop_cpu_seconds")
        spread = (min(loops), max(loops))
        return Row(
            name=name, seconds=result.figure("loop_seconds"), spread=spread, cpu_seconds=cpu, note=result.contestant.note
        )
    return Row.of(result)


def _check_agreement(folder: Path, results: dict[str, Result]) -> None:
    ours = pq.read_table(folder / f"{OURS}.parquet", columns=["probability_pos"])["probability_pos"].to_numpy()
    assert np.isfinite(ours).all()
    for name in results:
        path = folder / f"{name}.npy"
        if name == OURS or name == "fastText":
            continue
        theirs = np.load(path)
        difference = float(np.abs(theirs - ours[: len(theirs)]).max())
        print(f"{name}: largest difference of a probability from ours {difference:.1e}", file=sys.stderr)
        if difference > TOLERANCE:
            raise AssertionError(f"{name} gives other probabilities than ours: they differ by {difference:.2e}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark of pipeline score.")
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--book-rows", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arch", default="bilstm")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--cores", type=int, help="cores for everybody  (default: all)")
    parser.add_argument("--peers", default=peers_python(), help="Python interpreter of the peers' environment")
    parser.add_argument("--reuse", help="keep inputs and outputs in this folder")
    parser.add_argument("--wide", action="store_true", help="the architecture combined with n-grams")
    parser.add_argument("--all", action="store_true", help="all peers, however many rows there are")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
