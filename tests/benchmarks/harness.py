"""Runs commands in turn as whole processes and compares them: wall time, peak memory, ratios, a Markdown table.

A contestant's command may print one line of JSON last; its numbers are kept as figures, medians over the rounds.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20


def peers_python() -> str:
    """The interpreter of the environment that make_peers.sh makes: of the folder PEERS, else of .venv-peers."""
    return str(Path(os.environ.get("PEERS", ROOT / ".venv-peers")) / "bin/python")


@contextmanager
def workplace(kept: str | None, prefix: str) -> Iterator[Path]:
    """The folder `kept`, else a temporary one."""
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        yield Path(folder)


def has_module(python: str, module: str) -> bool:
    """Whether an interpreter is there and can import a module; says so when not, for a table without a peer misleads."""
    found = Path(python).exists() and subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0
    if not found:
        print(f"left out: {module} is not in {python}; see tests/benchmarks/make_peers.sh", file=sys.stderr)
    return found


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A command to be measured. `note` says what a reader of the table has to know; `expected` are good exit codes."""

    name: str
    command: Sequence[object]
    note: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    expected: tuple[int, ...] = (0,)
    prepare: "Sequence[Path]" = ()
    """Files and empty folders that are removed before each run."""


@dataclass
class Result:
    """What was measured of one contestant: a number a round. Seconds of wall time, seconds of all cores together (with
    those of its finished children), bytes of peak resident memory.
    """

    contestant: Contestant
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def peak(self) -> int:
        return max(self.peaks)

    def figure(self, name: str) -> float:
        """Median of a number that the command printed."""
        return statistics.median(self.figures[name])


def run_in_turn(
    contestants: Sequence[Contestant], rounds: int, before: Callable[[Contestant], None] | None = None
) -> dict[str, Result]:
    """Runs every contestant once, then every one again, so that a change of the machine's load affects all of them.

    `before` is called, unmeasured, before each run.

    Raises:
        RuntimeError: a command ended with an unexpected code; its stderr is in the message.
    """
    results = {contestant.name: Result(contestant) for contestant in contestants}
    for number in range(rounds):
        for contestant in contestants:
            result = results[contestant.name]
            if before is not None:
                before(contestant)
            run = measure(contestant)
            seconds, peak = run.seconds, run.peak
            result.seconds.append(seconds)
            result.cpu_seconds.append(run.cpu_seconds)
            result.peaks.append(peak)
            for name, value in _figures(run.stdout).items():
                result.figures.setdefault(name, []).append(value)
            print(
                f"round {number + 1}: {contestant.name}: {seconds:.2f} s, {peak / MIB:.0f} MiB", file=sys.stderr, flush=True
            )
    return results


@dataclass(frozen=True)
class Measured:
    """One run of a command. `peak`: bytes of the process or of its largest finished child."""

    seconds: float
    cpu_seconds: float
    peak: int
    stdout: str


LAUNCHER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(child.pid, 0)
seconds = time.perf_counter() - started
child.returncode = os.waitstatus_to_exitcode(status)
with open(sys.argv[1], "w") as file:
    json.dump([seconds, child.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss], file)
"""
"""A small process between us and the command: the kernel counts what a child shares with its parent before it becomes
another program into the child's peak memory, and a benchmark that has torch loaded is large."""


def measure(contestant: Contestant) -> Measured:
    """Runs the command once, after what those before it wrote has come to the disk."""
    for path in contestant.prepare:
        path.unlink(missing_ok=True)
    os.sync()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **contestant.environment}
    with (
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
        tempfile.NamedTemporaryFile("r") as usage,
    ):
        command = [sys.executable, "-I", "-S", "-c", LAUNCHER, usage.name, *map(str, contestant.command)]
        subprocess.run(command, stdout=stdout, stderr=stderr, env=environment, cwd=ROOT, check=True)
        seconds, code, cpu_seconds, peak = json.load(usage)
        stdout.seek(0)
        stderr.seek(0)
        if code not in contestant.expected:
            said = stderr.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{contestant.name} ended with {code}:\n{said}")
        peak *= 1 if sys.platform == "darwin" else 1024
        return Measured(seconds, cpu_seconds, peak, stdout.read().decode())


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table. `seconds` may be a figure of the process or scaled; `note` then says so."""

    name: str
    seconds: float
    spread: tuple[float, float] | None = None
    cpu_seconds: float | None = None
    peak: int | None = None
    note: str = ""

    @classmethod
    def of(cls, result: Result, note: str = "") -> "Row":
        """The whole process as it was measured."""
        return cls(
            name=result.contestant.name,
            seconds=result.median,
            spread=(min(result.seconds), max(result.seconds)),
            cpu_seconds=statistics.median(result.cpu_seconds),
            peak=result.peak,
            note=note or result.contestant.note,
        )


def markdown(rows: Sequence[Row], reference: str, items: int, unit: str) -> str:
    """A table of `rows`; ratios are each one's time over that of the row named `reference`. `items` were processed."""
    base = next(row.seconds for row in rows if row.name == reference)
    lines = [
        f"| | seconds (median) | min to max | CPU seconds | {unit}/s | time ÷ {reference} | peak MiB | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        spread = f"{row.spread[0]:.2f} to {row.spread[1]:.2f}" if row.spread else ""
        peak = f"{row.peak / MIB:,.0f}" if row.peak else ""
        cpu = f"{row.cpu_seconds:.2f}" if row.cpu_seconds else ""
        rate, ratio = f"{items / row.seconds:,.0f}", f"{row.seconds / base:.2f}"
        lines.append(f"| {row.name} | {row.seconds:.2f} | {spread} | {cpu} | {rate} | {ratio} | {peak} | {row.note} |")
    return "\n".join(lines)


def machine() -> str:
    """Cores and load: figures from a busy machine are less reliable, so the table shows how busy it was."""
    return f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} at the end"


def _figures(output: str) -> dict[str, float]:
    lines = output.strip().splitlines()
    try:
        printed = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    if not isinstance(printed, dict):
        return {}
    return {name: float(value) for name, value in printed.items() if isinstance(value, int | float)}
