"""Mutated deliveries, thousands of them: `python -m tests.fuzz --count 2000`. Ends with 1 where something was wrong.

The inputs are checked in child processes. One that takes too long ends its child, which prints where it was; the next
child goes on behind it. `--first N --count 1 --keep FOLDER` runs one input again and leaves what it makes in the folder.
"""

import argparse
import faulthandler
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.check import Result, check, make_input, prepare
from tests.support.paths import ROOT

LIMIT_SECONDS = 60
"""No input takes as long, on a busy machine either."""
MEMORY_BYTES = 8 << 30
"""Address space of a child: a file of a few KB that asks for more is a fault."""
PROCESS_SHARE = 50
"""One in this many inputs runs its commands as separate processes."""
SHOWN = 20


def main() -> int:
    """Runs all inputs; gives the exit code."""
    options = _options()
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared"
        prepared.mkdir()
        prepare(prepared)
        jobs = range(min(options.jobs, options.count))
        with ThreadPoolExecutor(len(jobs)) as threads:
            parts = threads.map(lambda job: _run(options, prepared, job), jobs)
        results = sorted((result for part in parts for result in part), key=lambda result: result.number)
    problems = [(result, problem) for result in results for problem in result.problems]
    for result, problem in problems[:SHOWN]:
        print(f"input {result.number} ({result.name}): {problem}\n")
    _print_codes(results)
    print(f"\n{len(results):,} inputs in {time.monotonic() - started:.0f} s, seed {options.seed}: {len(problems)} problems")
    return 1 if problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="child processes")
    parser.add_argument("--keep", type=Path, help="folder for what the last input makes")
    return parser.parse_args()


def _run(options: argparse.Namespace, prepared: Path, job: int) -> list[Result]:
    """Every `jobs`-th input, in one child after the other."""
    workplace = options.keep or prepared.parent / f"work{job}"
    left = list(range(options.first + job, options.first + options.count, options.jobs))
    results: list[Result] = []
    while left:
        child = subprocess.run(
            [sys.executable, "-c", "from tests.fuzz.__main__ import child; child()"],
            input=json.dumps(
                {"prepared": str(prepared), "workplace": str(workplace), "seed": options.seed, "numbers": left}
            ),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        done = [Result(**json.loads(line)) for line in child.stdout.splitlines()]
        results += done
        left = left[len(done) :]
        if left:
            name = make_input(options.seed, left[0])[0].suffix
            end = "\n".join(child.stderr.splitlines()[-40:])
            problem = f"the process ended with {child.returncode}, or took more than {LIMIT_SECONDS} s:\n{end}"
            results.append(Result(left.pop(0), name, problems=[problem]))
    return results


def child() -> None:
    """Checks the inputs that stdin names and prints a line of JSON for each."""
    task = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    prepared, workplace = Path(task["prepared"]), Path(task["workplace"])
    for number in task["numbers"]:
        faulthandler.dump_traceback_later(LIMIT_SECONDS, exit=True)
        result = check(prepared, workplace, task["seed"], number, process=number % PROCESS_SHARE == 0)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(asdict(result)), flush=True)


def _print_codes(results: list[Result]) -> None:
    """A table: exit codes of ingest and score by format."""
    codes: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for result in results:
        for command in ("ingest", "score"):
            if command in result.codes:
                codes[result.name, command][result.codes[command]] += 1
    columns = sorted({code for counter in codes.values() for code in counter})
    print(f"{'format':<12}{'command':<9}" + "".join(f"{code:>7}" for code in columns))
    for (name, command), counter in sorted(codes.items()):
        print(f"{name:<12}{command:<9}" + "".join(f"{counter[code]:>7}" for code in columns))
    total = sum((counter for (_, command), counter in codes.items() if command == "ingest"), Counter[int]())
    print(f"{'all':<12}{'ingest':<9}" + "".join(f"{total[code]:>7}" for code in columns))


if __name__ == "__main__":
    sys.exit(main())
