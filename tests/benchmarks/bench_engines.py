"""`pipeline ingest` and `pipeline score` with each engine, as whole processes on this machine.

    python tests/benchmarks/bench_engines.py              25,000, 100,000 and 400,000 reviews, 3 rounds
    python tests/benchmarks/bench_engines.py --size 1000000 --rounds 1
    python tests/benchmarks/bench_engines.py --smoke      small: the same bytes, no speed

Each engine has 1 and 2 workers. Peak memory is what all processes of a command have together, shared pages once (PSS);
`driver` is the process that counts and commits. Starting and ending the Ray cluster is part of the time.
The files that the engines write are compared, byte for byte.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.bench_score import make_bundle
from tests.benchmarks.harness import MIB, ROOT, machine
from tests.benchmarks.reviews import write_reviews

SIZES = (25_000, 100_000, 400_000)
FILES = 8
ENGINES = ("local", "ray")
ARCHS, HIDDEN = ("nbsvm", "bilstm"), 64
SAMPLE_SECONDS = 0.1


@dataclass
class Run:
    """Seconds of a command, and peaks in bytes: of the process itself, of it and all its children together."""

    seconds: list[float] = field(default_factory=list)
    driver: int = 0
    together: int = 0


class Peaks(threading.Thread):
    """Samples the memory of a process and of all under it."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.ended = process, threading.Event()
        self.driver = self.together = 0

    def run(self) -> None:
        while not self.ended.wait(SAMPLE_SECONDS):
            family = {process: _pss(process) for process in _family(self.process)}
            self.driver = max(self.driver, family.get(self.process, 0))
            self.together = max(self.together, sum(family.values()))


def _family(process: int) -> list[int]:
    found, left = [], [process]
    while left:
        found.append(left.pop())
        try:
            tasks = list(Path(f"/proc/{found[-1]}/task").iterdir())
            left += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue  # it has ended
    return found


def _pss(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Runs the benchmark; gives each line's time as a multiple of the local engine's with as many workers."""
    options = _options(arguments)
    sizes = (2_000,) if options.smoke else (options.size,) if options.size else SIZES
    rounds, workers = (1, (2,)) if options.smoke else (options.rounds, (1, 2))
    ratios: dict[str, float] = {}
    print("| command | reviews | engine | workers | seconds (median) | min to max | reviews/s | driver MiB | together MiB |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-engines-", dir=options.folder) as temporary:
        for size in sizes:
            folder = Path(temporary) / f"{size}"
            cases = _cases(folder, size)
            for name, case in cases.items():
                runs = _in_turn(folder, case, workers, rounds)
                for (engine, number), run in runs.items():
                    median = sorted(run.seconds)[len(run.seconds) // 2]
                    base = sorted(runs["local", number].seconds)[len(run.seconds) // 2]
                    ratios[f"{name} {size} {engine} {number}"] = median / base
                    print(
                        f"| {name} | {size:,} | {engine} | {number} | {median:.2f} | {min(run.seconds):.2f} to "
                        f"{max(run.seconds):.2f} | {size / median:,.0f} | {run.driver / MIB:,.0f} | "
                        f"{run.together / MIB:,.0f} |",
                        flush=True,
                    )
            shutil.rmtree(folder)
    print(f"\n{rounds} rounds, {machine()}")
    print(json.dumps({"ratios": {name: round(ratio, 3) for name, ratio in ratios.items()}}))
    return ratios


def _cases(folder: Path, size: int) -> dict[str, Sequence[object]]:
    """The commands; each writes into the folder `out`, which is new each time."""
    reviews = folder / "reviews"
    reviews.mkdir(parents=True)
    for number in range(FILES):
        write_reviews(reviews / f"{number}.parquet", size // FILES, seed=number)
    cases: dict[str, Sequence[object]] = {"ingest": ("ingest", reviews)}
    for arch in ARCHS:
        bundle = make_bundle(folder / "bundles", reviews / "0.parquet", arch, HIDDEN)
        cases[f"score, {arch}"] = ("score", reviews, "--output", "OUT/scored.parquet", "--model", bundle)
    return cases


def _in_turn(folder: Path, case: Sequence[object], workers: Sequence[int], rounds: int) -> dict[tuple[str, int], Run]:
    runs = {(engine, number): Run() for number in workers for engine in ENGINES}
    written: dict[str, bytes] = {}
    for _ in range(rounds):
        for (engine, number), run in runs.items():
            out = folder / "out"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            _measure(out, case, engine, number, run)
            found = _files(out)
            written = written or found
            if found != written:
                raise AssertionError(f"{engine} with {number} workers wrote other files: {sorted(found)}")
    return runs


def _measure(out: Path, case: Sequence[object], engine: str, workers: int, run: Run) -> None:
    words = [str(word).replace("OUT", str(out)) for word in case]
    command = [sys.executable, "-P", "-m", "pipeline", "-q", "--lake", str(out / "lake"), *words]
    os.sync()
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--engine", engine, "--workers", str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    peaks = Peaks(process.pid)
    peaks.start()
    _, stderr = process.communicate()
    run.seconds.append(time.perf_counter() - begun)
    peaks.ended.set()
    peaks.join()
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{stderr.decode(errors='replace')[-2000:]}")
    run.driver, run.together = max(run.driver, peaks.driver), max(run.together, peaks.together)


def _files(out: Path) -> dict[str, bytes]:
    """What must not depend on the engine."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.parquet"))}


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, help="reviews; by default several sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the reviews and lakes go for the run")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
