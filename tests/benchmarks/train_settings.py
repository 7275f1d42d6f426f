"""Settings of `pipeline train` beside the default: whole processes in turn, a table of tokens a second."""

import argparse
import statistics
import sys
from pathlib import Path

from tests.benchmarks.harness import MIB, Contestant, Result, machine, run_in_turn

OURS = Path(__file__).parent / "peers/train_ours.py"
DEFAULT = "default"
RANKS = "`--nproc 2`"
SETTINGS: dict[str, tuple[str, ...]] = {
    "`--precision bf16`": ("--precision", "bf16"),
    "`--workers 0`": ("--workers", "0"),
    "`--workers 1`": ("--workers", "1"),
    "`--workers 4`": ("--workers", "4"),
    "`--window-rows 2048`": ("--window-rows", "2048"),
    "`--window-rows 8192`": ("--window-rows", "8192"),
    "pools of 32 steps": ("--pool-steps", "32"),
    "pools of 512 steps": ("--pool-steps", "512"),
    "padding to 8 tokens": ("--length-step", "8"),
    "padding to 32 tokens": ("--length-step", "32"),
    "`--embedding-update sparse`": ("--embedding-update", "sparse"),
    "freed memory given back": ("--free-memory",),
    RANKS: (),
}


def tables(lake: Path, arch: str, hidden: int, given: argparse.Namespace) -> str:
    """The table, in Markdown. One rank computes on all cores, each of two on its share."""

    def contestant(name: str, *options: str) -> Contestant:
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2") if name == RANKS else ()
        command = [sys.executable, *launcher, OURS, "--lake", lake, "--steps", given.steps, "--arch", arch]
        environment = {"OMP_NUM_THREADS": "1"} if name == RANKS else {}
        return Contestant(
            name=name, command=[*command, "--hidden", hidden, "--dropout", 0.5, *options], environment=environment
        )

    contestants = [contestant(DEFAULT), *(contestant(name, *options) for name, options in SETTINGS.items())]
    results = run_in_turn(contestants, given.rounds)
    base = _rate(results[DEFAULT])
    lines = [
        f"{arch} {hidden}, {given.steps} steps of 64 reviews, {given.rounds} rounds, {machine()}",
        "",
        "| | tokens/s | ÷ default | padding | peak MiB of a process |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        rate, padding = _rate(result), result.figure("padding")
        lines.append(f"| {name} | {rate:,.0f} | {rate / base:.2f} | {padding:.1%} | {result.peak / MIB:,.0f} |")
    return "\n".join(lines)


def _rate(result: Result) -> float:
    """Tokens a second, the median over the rounds."""
    figures = zip(result.figures["tokens"], result.figures["loop_seconds"], strict=True)
    return statistics.median(tokens / seconds for tokens, seconds in figures)
