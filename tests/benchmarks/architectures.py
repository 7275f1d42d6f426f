"""Every architecture on the labelled IMDb reviews, the same budget for all: the README's table.

    python tests/benchmarks/architectures.py --lake FOLDER            14 architectures, 3 seeds
    python tests/benchmarks/architectures.py --lake FOLDER --seeds 0 --arch lstm bilstm
    python tests/benchmarks/architectures.py --lake FOLDER --table    of what was trained so far, trains nothing

The lake has to hold the ingested archive (`pipeline --lake FOLDER ingest …/aclImdb`). Each training is `pipeline train
--arch NAME --no-wide --seed N` with the defaults of everything else, a process with one thread in its kernels, as many at
once as there are cores: what one costs is its CPU seconds, which other processes disturb least. What is done is noted in
FOLDER/architectures.jsonl; a benchmark that was stopped goes on there.
"""

import argparse
import json
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.models.registry import architectures
from tests.benchmarks.harness import Contestant, machine, measure

REFERENCE = "lstm"
NOTES = "architectures.jsonl"


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    notes = options.lake / NOTES
    done = _read(notes)
    if not options.table:
        there = {(note["arch"], note["seed"]) for note in done}
        wanted = [(arch, seed) for seed in options.seeds for arch in options.arch if (arch, seed) not in there]
        with ThreadPoolExecutor(options.jobs) as pool:
            for note in pool.map(lambda one: train(options.lake, *one, options.options), wanted):
                with notes.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(note) + "\n")
                print(json.dumps(note), file=sys.stderr, flush=True)
        done = _read(notes)
    print(f"{machine()}\n\n{table(done)}")


def train(lake: Path, arch: str, seed: int, more: list[str]) -> dict[str, Any]:
    """Trains one model in a process of its own; gives what the table needs of it."""
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "-q",
        "--lake",
        lake,
        "train",
        "--arch",
        arch,
        "--no-wide",
        "--holdout",
        "0",
    ]
    run = measure(
        Contestant(name=arch, command=[*command, "--seed", seed, "--force", *more], environment={"OMP_NUM_THREADS": "1"})
    )
    receipt = json.loads(run.stdout.strip().splitlines()[-1])
    described = json.loads((Path(receipt["outputs"]["model"]) / "model.json").read_text(encoding="utf-8"))
    return {
        "arch": arch,
        "seed": seed,
        "accuracy": receipt["metrics"]["valid_accuracy"],
        "best_epoch": receipt["metrics"]["best_epoch"],
        "epochs": receipt["metrics"]["epochs"],
        "cpu_seconds": round(run.cpu_seconds, 1),
        "peak": run.peak,
        "model_config": described["model_config"],
    }


def table(notes: list[dict[str, Any]]) -> str:
    """Markdown, the best first: medians of the cost, mean, least and greatest accuracy over the seeds."""
    by_arch: dict[str, list[dict[str, Any]]] = {}
    for note in notes:
        by_arch.setdefault(note["arch"], []).append(note)

    def cost(arch: str) -> float:
        return statistics.median(note["cpu_seconds"] / note["epochs"] for note in by_arch[arch])

    def mean(arch: str) -> float:
        return statistics.mean(note["accuracy"] for note in by_arch[arch])

    lines = [
        f"| `--arch` | parameters | seconds an epoch ÷ `{REFERENCE}` | accuracy, mean | from, to | seeds | best epoch |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for arch in sorted(by_arch, key=mean, reverse=True):
        found = [note["accuracy"] * 100 for note in by_arch[arch]]
        ratio = f"{cost(arch) / cost(REFERENCE):.2f}" if REFERENCE in by_arch else ""
        epochs = ", ".join(str(note["best_epoch"]) for note in by_arch[arch])
        lines.append(
            f"| `{arch}` | {_parameters(arch, by_arch[arch][0]['model_config']):,} | {ratio} | {mean(arch):.2%} "
            f"| {min(found):.1f} to {max(found):.1f} | {len(found)} | {epochs} |"
        )
    return "\n".join(lines)


def _parameters(arch: str, config: dict[str, Any]) -> int:
    from pipeline.models.registry import build_model

    return build_model(arch, config).num_parameters()


def _read(notes: Path) -> list[dict[str, Any]]:
    if not notes.exists():
        return []
    return [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", type=Path, required=True, help="with the ingested archive; the models land there too")
    parser.add_argument("--arch", nargs="*", default=list(architectures()))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once")
    parser.add_argument("--table", action="store_true", help="print the table, train nothing")
    parser.add_argument("options", nargs="*", help="further options of pipeline train, after --")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
