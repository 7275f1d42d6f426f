"""What reviews cost as they become more: time, memory, files, bytes, commits and requests, by engine, workers and storage.

    python -m tests.benchmarks.bench_scale                                       10,000 and 100,000 reviews on the disk
    python -m tests.benchmarks.bench_scale --reviews 10000,100000,1000000        a power of ten more: an hour
    python -m tests.benchmarks.bench_scale --engines local,ray --workers 1,2     the engines side by side
    python -m tests.benchmarks.bench_scale --storage disk,s3                     and over an S3 server on loopback
    python -m tests.benchmarks.bench_scale --commands nbsvm,score                without the network
    python -m tests.benchmarks.bench_scale --nights 20                           small additions to the largest lake
    python -m tests.benchmarks.bench_scale --smoke                               small: rows agree, no speed

Reviews: the IMDb archive's texts where it is at hand, else generated ones, over and over; every other one is positive,
and its last word says so. Each command is a whole process. Prints Markdown tables for docs/scale.md; its last line is JSON.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.harness import MIB, Contestant, Measured, machine, measure, workplace
from tests.benchmarks.reviews import texts
from tests.benchmarks.scale_storage import STORAGES, Place, storage

FILE_REVIEWS = 50_000
NIGHT_REVIEWS = 1_000
"""What a night adds."""
SCORED_SHARE = 0.2
COLUMNS = ("--text-column", "text", "--id-column", "id")
LOCAL = "local"
LABELS, WORDS = ("neg", "pos"), ("dreary", "gripping")
COMMANDS = NBSVM, BILSTM, SCORE = "nbsvm", "bilstm", "score"
"""What is measured beside ingest; `score` needs the model of `nbsvm`."""


@dataclass(frozen=True)
class Setting:
    """What is measured: a number of reviews, where the lake is, how the work is spread."""

    reviews: int
    storage: str
    engine: str
    workers: int

    @property
    def spread(self) -> tuple[str, ...]:
        """The options of ingest and score."""
        engine = () if self.engine == LOCAL else ("--engine", self.engine)
        return ("--workers", str(self.workers), *engine)

    @property
    def name(self) -> str:
        return f"{self.reviews}-{self.storage}-{self.engine}-{self.workers}"


@dataclass(frozen=True)
class Cost:
    """One command under one setting. `requests` by kind, to the storage; `files` and `bytes` are the lake's after it."""

    setting: Setting
    command: str
    run: Measured
    rows: int
    files: int
    bytes: int
    commits: int
    requests: dict[str, int]

    def cells(self) -> list[str]:
        setting, run = self.setting, self.run
        asked = " ".join(f"{kind} {count:,}" for kind, count in self.requests.items())
        return [
            *(f"{setting.reviews:,}", setting.storage, setting.engine, str(setting.workers), self.command),
            *(f"{run.seconds:.1f}", f"{run.cpu_seconds:.1f}", f"{self.rows / run.seconds:,.0f}", f"{run.peak / MIB:,.0f}"),
            *(f"{self.files:,}", f"{self.bytes / 1e6:,.1f}", f"{self.commits:,}", asked),
        ]


HEADER = (
    *("reviews", "storage", "engine", "workers", "command", "seconds", "CPU seconds", "reviews/s", "peak MiB"),
    *("files", "MB", "commits", "requests"),
)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Runs the benchmark; gives seconds by setting and command."""
    options = _options(arguments)
    if options.smoke:
        options.reviews, options.nights = [400], 2
    with workplace(options.reuse, "bench-scale-") as folder:
        return _bench(options, folder)


def _bench(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    settings = [
        Setting(reviews, place, engine, workers)
        for reviews, place, engine, workers in product(options.reviews, options.storage, options.engines, options.workers)
    ]
    found: list[Cost] = []
    nights: list[Cost] = []
    for place_name in options.storage:
        with storage(place_name, folder / place_name) as place:
            for setting in (setting for setting in settings if setting.storage == place_name):
                found += _commands(setting, place, folder, options.commands)
                if options.nights and setting == settings[-1]:
                    nights += _nights(setting, place, folder, options.nights)
    print(f"\n{machine()}\n")
    print(table(found))
    if nights:
        print(f"\nNights of {_per_night(nights[0].setting):,} reviews:\n\n{table(nights)}")
    seconds = {f"{cost.setting.name} {cost.command}": round(cost.run.seconds, 3) for cost in [*found, *nights]}
    print(json.dumps({"seconds": seconds}))
    return seconds


def _commands(setting: Setting, place: Place, folder: Path, wanted: list[str]) -> Iterator[Cost]:
    """What is wanted of ingest, a training of the linear model, one of a network, and scoring with the linear model."""
    raw = write_reviews(folder / f"raw-{setting.reviews}", setting.reviews)
    lake = place.lake(setting.name)
    ingest = (raw, *COLUMNS, "--label-column", "label", *setting.spread)
    yield _cost(setting, place, lake, "ingest", setting.reviews, *ingest)
    if NBSVM in wanted:
        yield _cost(setting, place, lake, "train", setting.reviews, "--arch", "nbsvm")
    if BILSTM in wanted:
        network = ("--arch", "bilstm", "--hidden-dim", "32", "--epochs", "1", "--no-wide", "--no-baseline")
        yield _cost(setting, place, lake, "train", setting.reviews, *network, "--promote", "never")
    if SCORE in wanted:
        scored = max(1, int(setting.reviews * SCORED_SHARE))
        unscored = min(write_reviews(folder / f"unseen-{scored}", scored).glob("*.parquet"))
        output = folder / f"scored-{setting.name}.parquet"
        rows = pq.read_metadata(unscored).num_rows
        score = (unscored, "--text-column", "text", "--output", output, *setting.spread)
        yield _cost(setting, place, lake, "score", rows, *score, label="score, nbsvm")
        assert pq.read_metadata(output).num_rows == rows


def _nights(setting: Setting, place: Place, folder: Path, nights: int) -> Iterator[Cost]:
    """Small additions to a lake, one after the other: what each costs shows what grows with the lake."""
    lake = place.lake(setting.name)
    for night in range(nights):
        raw = write_reviews(folder / f"night-{night}", _per_night(setting), f"night-{night}-")
        arguments = (raw, *COLUMNS, "--label-column", "label", *setting.spread)
        yield _cost(setting, place, lake, "ingest", _per_night(setting), *arguments, label=f"ingest, night {night + 1}")


def _per_night(setting: Setting) -> int:
    return min(NIGHT_REVIEWS, setting.reviews)


def _cost(setting: Setting, place: Place, lake: str, command: str, rows: int, *arguments: object, label: str = "") -> Cost:
    """Runs a command and counts what it leaves."""
    words = (sys.executable, "-P", "-m", "pipeline", "-q", "--lake", lake, command, *arguments)
    before = place.requests()
    run = measure(Contestant(name=command, command=words, environment=place.environment))
    asked = {kind: count - before.get(kind, 0) for kind, count in place.requests().items() if count > before.get(kind, 0)}
    receipt = json.loads(run.stdout.splitlines()[-1])
    if command in ("ingest", "score"):
        assert receipt["written"] == rows, receipt
    files = list(place.files(setting.name))
    arch = arguments[arguments.index("--arch") + 1] if "--arch" in arguments else ""
    cost = Cost(
        setting,
        label or f"{command} {arch}".strip(),
        run,
        rows,
        len(files),
        sum(size for _, size in files),
        sum(1 for name, _ in files if "/_delta_log/" in name and name.endswith(".json")),
        asked,
    )
    print(" | ".join(cost.cells()), file=sys.stderr, flush=True)
    return cost


def table(costs: list[Cost]) -> str:
    """A Markdown table."""
    lines = [HEADER, [*["---"] * 5, *["---:"] * 7, "---"][: len(HEADER)], *(cost.cells() for cost in costs)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_reviews(folder: Path, rows: int, prefix: str = "review-") -> Path:
    """A folder of Parquet files with so many reviews, which is made once."""
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    known = texts(min(rows, 25_000))
    for first in range(0, rows, FILE_REVIEWS):
        numbers = range(first, min(first + FILE_REVIEWS, rows))
        columns = {
            "id": [f"{prefix}{number}" for number in numbers],
            "text": [f"{known[number % len(known)]} {number} {WORDS[number % 2]}" for number in numbers],
            "label": [LABELS[number % 2] for number in numbers],
        }
        pq.write_table(pa.table(columns), folder / f"{first:010d}.parquet", compression="zstd", row_group_size=5_000)
    return folder


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=_numbers, default=[10_000, 100_000])
    parser.add_argument("--storage", type=_names, default=["disk"], help=", ".join(STORAGES))
    parser.add_argument("--engines", type=_names, default=[LOCAL], help="local, ray")
    parser.add_argument("--workers", type=_numbers, default=[2])
    parser.add_argument("--commands", type=_names, default=[*COMMANDS], help=", ".join(COMMANDS))
    parser.add_argument("--nights", type=int, default=0)
    parser.add_argument("--reuse", metavar="FOLDER", help="keep reviews and lakes here")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
