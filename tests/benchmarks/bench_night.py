"""A night beside a short one: `pipeline ingest` of 10,000 new reviews into 10⁴, 10⁵ and 10⁶ known ones, as whole processes.

    python tests/benchmarks/bench_night.py                     3 sizes, 5 rounds in turn
    python tests/benchmarks/bench_night.py --known 100000000   a lake of so many made-up keys: memory
    python tests/benchmarks/bench_night.py --smoke             small: counts agree, no speed

Each lake is ingested from one CSV of short reviews. Its first night, unmeasured in the table, makes the index of keys; its
seconds are printed. Before each measured night, the lake is put back as it was after the first. A lake of `--known` keys
has one shard under many names, and an index with as many made-up keys as these would hold; the command believes it, as it
does not read again what it has noted.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pipeline.lake.index_file import SECTIONS, SUFFIX, Records, write_index_file
from pipeline.lake.noted import NotedShard
from pipeline.lake.paths import Lake
from pipeline.lake.shards import read_shard
from pipeline.lake.table import TokenTable, commit
from tests.benchmarks.harness import MIB, Contestant, Row, machine, markdown, measure, run_in_turn

NEW = 10_000
SIZES = (10_000, 100_000, 1_000_000)
SHARD_ROWS = 16_384
WORDS = [f"word{number}" for number in range(3000)]
AT_A_TIME = 1 << 18


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Runs the benchmark; gives each night's time as a multiple of the shortest lake's, and peaks (MiB)."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-night-", dir=options.folder) as temporary:
        folder = Path(temporary)
        figures = _memory(folder, options.known, options) if options.known else _nights(folder, options)
    print(json.dumps({"figures": {name: round(figure, 3) for name, figure in figures.items()}}))
    return figures


def _nights(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    sizes, new = (SIZES, NEW) if not options.smoke else ((200, 2000), 100)
    contestants = []
    for size in sizes:
        lake = folder / f"{size}"
        _ingested(lake, write_reviews(folder / f"known-{size}.csv", 0, size), size)
        first = _ingested(lake, write_reviews(folder / f"first-{size}.csv", size, size + new), new)
        print(f"{size:,} known: the first night, which makes the index, took {first:.2f} s", file=sys.stderr)
        _copy(lake, folder / f"{size}-kept")
        night = write_reviews(folder / f"night-{size}.csv", size + new, size + 2 * new)
        contestants.append(Contestant(name=f"{size:,} known", command=_command(lake, night), note="whole process"))

    def put_back(contestant: Contestant) -> None:
        lake = Path(str(contestant.command[contestant.command.index("--lake") + 1]))
        _copy(lake.with_name(f"{lake.name}-kept"), lake)

    measured = run_in_turn(contestants, 1 if options.smoke else options.rounds, put_back)
    for size in sizes:
        _check_rows(folder / f"{size}", size + 2 * new)
    rows = [Row.of(result) for result in measured.values()]
    print(f"\n{new:,} new reviews a night, {options.rounds} rounds, {machine()}\n")
    print(markdown(rows, contestants[0].name, new, "new reviews"))
    base = measured[contestants[0].name]
    return {name: result.median / base.median for name, result in measured.items()} | {
        f"{name}, CPU": sum(result.cpu_seconds) / sum(base.cpu_seconds) for name, result in measured.items()
    }


def _memory(folder: Path, known: int, options: argparse.Namespace) -> dict[str, float]:
    """A night in a lake of `known` made-up keys."""
    new = 100 if options.smoke else NEW
    lake = Lake(folder / "lake")
    _ingested(lake.root, write_reviews(folder / "known.csv", 0, SHARD_ROWS), SHARD_ROWS)
    pretend(lake, known)
    night = write_reviews(folder / "night.csv", SHARD_ROWS, SHARD_ROWS + new)
    done = measure(Contestant(name="night", command=_command(lake.root, night)))
    receipt = json.loads(done.stdout.splitlines()[-1])
    if (receipt["written"], receipt["known"]) != (new, 0):
        raise AssertionError(f"not all of {new:,} reviews were new: {receipt}")
    index = sum(path.stat().st_size for path in lake.index.iterdir())
    print(f"{known:,} known keys ({index / MIB:,.0f} MiB of index), {new:,} new reviews, {machine()}")
    print(f"{done.seconds:.2f} s, {done.cpu_seconds:.2f} CPU seconds, peak {done.peak / MIB:.0f} MiB")
    return {"seconds": done.seconds, "cpu_seconds": done.cpu_seconds, "peak_mib": done.peak / MIB}


def pretend(lake: Lake, known: int) -> None:
    """Lists the lake's shard under so many names that they hold `known` rows, and makes up their keys."""
    table = TokenTable.open(lake.tokens)
    shard = table.shards[0]
    paths = [shard.path.with_name(f"known-{number:06}.parquet") for number in range(known // shard.rows)]
    for path in paths:
        os.link(shard.path, path)
    commit(lake.tokens, added=paths, removed=[], run_id="made-up", metadata={"counts": None}, base=table.version)
    noted = [NotedShard.of(read_shard(path)) for path in paths]
    rows = len(noted) * shard.rows
    sections = (_made_up(name, len(noted) if name == "sources" else rows, len(noted)) for name in SECTIONS)
    write_index_file(lake.index / f"made-up{SUFFIX}", noted, sections)


def _made_up(section: str, count: int, shards: int) -> Iterator[Records]:
    """Records with random keys in order, a part for each of equal ranges."""
    generator = np.random.default_rng(len(section))
    steps = 1 + count // AT_A_TIME
    for step, (low, high) in enumerate(pairwise(2**64 * step // steps for step in range(steps + 1))):
        number = count * (step + 1) // steps - count * step // steps
        records = np.zeros(number, SECTIONS[section])
        records["key"] = np.sort(generator.integers(low, high, number, np.uint64))
        records["shard"] = generator.integers(0, shards, number)
        yield records


def write_reviews(path: Path, first: int, end: int) -> Path:
    """A CSV of reviews of eight words, with ids."""
    generator = random.Random(first)
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text,label\n")
        for number in range(first, end):
            words = " ".join(generator.choices(WORDS, k=8))
            file.write(f"review-{number},{words},{'pos' if generator.random() < 0.5 else 'neg'}\n")
    return path


def _command(lake: Path, source: Path) -> list[object]:
    return [sys.executable, "-m", "pipeline", "-q", "--lake", lake, "ingest", source, "--id-column", "id", "--workers", "2"]


def _ingested(lake: Path, source: Path, rows: int) -> float:
    """Ingests; gives the seconds."""
    done = measure(Contestant(name=f"ingest of {source.name}", command=_command(lake, source)))
    written = json.loads(done.stdout.splitlines()[-1])["written"]
    if written != rows:
        raise AssertionError(f"{written:,} of {rows:,} reviews of {source} were written")
    return done.seconds


def _check_rows(lake: Path, rows: int) -> None:
    found = TokenTable.open(lake / "tokens").rows
    if found != rows:
        raise AssertionError(f"{lake} holds {found:,} reviews, not {rows:,}")


def _copy(lake: Path, target: Path) -> None:
    """Copies a lake with its times, by which the index knows that the shards are the same."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(lake, target)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark of a night's ingest into a large lake.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--known", type=int, default=0, help="a lake of so many made-up keys instead")
    parser.add_argument("--folder", help="where lakes are made; 10⁸ keys take 3 GB")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
