"""`pipeline ingest` beside its peers, as whole processes, on the same reviews with the same rules.

    sh tests/benchmarks/make_peers.sh                        once: the peers' environment, PEERS or .venv-peers
    python tests/benchmarks/bench_ingest.py                  75,000 files, 3 rounds
    python tests/benchmarks/bench_ingest.py --size 16        the corpus sixteen times under other names
    python tests/benchmarks/bench_ingest.py --case csv       one CSV of 2 GB beside its floor; --size 4: a quarter of it
    python tests/benchmarks/bench_ingest.py --case jsonl     the same as lines of JSON
    python tests/benchmarks/bench_ingest.py --case tar       the corpus as one .tar.gz beside its unpacked files
    python tests/benchmarks/bench_ingest.py --smoke          small: agreement, no speed

Checks that every peer has the same ids for every review as ours, by count and checksum; prints a Markdown table.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pyarrow.parquet as pq

from tests.benchmarks.corpus import review_files, write_archive, write_csv, write_folder, write_jsonl
from tests.benchmarks.harness import ROOT, Contestant, Row, has_module, machine, markdown, measure, peers_python, run_in_turn
from tests.benchmarks.peers.ingest_common import prove_rows

PEERS = Path(__file__).parent / "peers"
OURS, FLOOR, UNPACKED = "pipeline ingest", "bare floor", "pipeline ingest, unpacked files"
SIZES = (1, 4, 16)
TABLE_BYTES = 128 << 20
"""Of a CSV or of lines of JSON, times the size: 16 is 2 GB."""
TABLES = {"csv": (write_csv, "--label-column", "label"), "jsonl": (write_jsonl,)}
"""How a table is written, and the options to read it."""
BOOK_OUTGROWS = 16
"""At this size the book's loop, which keeps every token in memory, needs 21 GB."""
ENVIRONMENTS = {
    "Polars": ("polars", "two threads"),
    "Hugging Face datasets, Arrow tables": ("datasets", "two processes", "--how", "arrow"),
    "Hugging Face datasets, Python lists": ("datasets", "two processes", "--how", "python"),
    "LitData optimize": ("litdata", "two processes"),
}
"""Peers of the other environment: name → module, note, further arguments."""
SPECIALS = 2


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Runs the benchmark; gives each row's time as a multiple of ours."""
    options = _options(arguments)
    if options.smoke:
        options.rounds, options.size = 1, 1
    options.size = options.size or (SIZES[-1] if options.case in TABLES else SIZES[0])
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as temporary:
        return _bench(options, Path(temporary))


def _bench(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    source = folder / "reviews"
    kind = write_folder(source, 1 if options.case in TABLES else options.size, smoke=options.smoke)
    if options.case == "tar":
        write_archive(source, folder / "reviews.tar.gz")
        source = folder / "reviews.tar.gz"
    elif options.case in TABLES:
        table = folder / f"reviews.{options.case}"
        rows = TABLES[options.case][0](source, table, 1 if options.smoke else options.size * TABLE_BYTES)
        source, kind = table, f"{rows:,} rows, {table.stat().st_size / 1e9:.2f} GB"
    contestants, scripts = _contestants(options, folder, source)
    small = folder / "small"
    write_folder(small / "reviews", 1, smoke=True)
    starters = {starter.name: starter for starter in _contestants(options, small, small / "reviews")[0]}

    def warm(contestant: Contestant) -> None:
        """Brings program and reviews into the page cache, from which some kernels drop what lay idle for half a minute."""
        for place in (folder, small):
            shutil.rmtree(place / contestant.name, ignore_errors=True)  # a known review would be passed over
        measure(starters[contestant.name])
        for file in review_files(source) if source.is_dir() else [source]:
            file.read_bytes()

    measured = run_in_turn(contestants, options.rounds, warm)
    proof = _our_proof(folder / OURS)
    rows_of_table = [Row.of(result) for result in measured.values()]
    print(f"\n{kind}, {options.case}, {options.rounds} rounds, {machine()}\n")
    print(markdown(rows_of_table, OURS, proof["reviews"], "reviews"))
    _check_agreement(folder, source, scripts, proof)
    ratios = {row.name: row.seconds / measured[OURS].median for row in rows_of_table}
    print(json.dumps({"ratios": {name: round(ratio, 3) for name, ratio in ratios.items()}}))
    return ratios


def _contestants(options: argparse.Namespace, folder: Path, source: Path) -> tuple[list[Contestant], dict[str, list[str]]]:
    """The contestants, and the command by which each peer reads its ids back (the floor's ids are nobody's)."""
    found: list[Contestant] = []
    scripts: dict[str, list[str]] = {}

    def ours(name: str, reviews: Path, note: str) -> None:
        more = TABLES[options.case][1:] if options.case in TABLES and reviews.is_file() else ()
        command = [
            sys.executable,
            "-m",
            "pipeline",
            "-q",
            "--lake",
            folder / name,
            "ingest",
            reviews,
            "--workers",
            "2",
            *more,
        ]
        found.append(Contestant(name=name, command=command, note=note))

    def peer(name: str, script: str, python: str, note: str, *more: str) -> None:
        parts = [python, str(PEERS / script), "--input", str(source), "--output", str(folder / name), *more]
        found.append(Contestant(name=name, command=parts, note=note))
        if name != FLOOR:
            scripts[name] = [*parts, "--check"]

    ours(OURS, source, "whole process")
    if options.case == "tar":
        ours(UNPACKED, folder / "reviews", "whole process")
        return found, scripts
    peer(FLOOR, "ingest_floor.py", sys.executable, "read, tokenize in two threads, write; no vocabulary")
    if options.case in TABLES or options.floor_only:
        return found, scripts
    if options.size < BOOK_OUTGROWS:
        peer("the book's loop", "ingest_book.py", sys.executable, "one process")
    for name, (module, note, *more) in ENVIRONMENTS.items():
        if has_module(options.peers, module):
            peer(name, f"ingest_{module}.py", options.peers, note, *more)
    return found, scripts


def _our_proof(lake: Path) -> dict[str, int]:
    shards = sorted((lake / "tokens").glob("*.parquet"))
    rows = (row.values.to_numpy() for shard in shards for row in pq.read_table(shard, columns=["ids"])["ids"])
    vocabulary = pq.read_metadata(next((lake / "vocabulary").glob("*.parquet"))).num_rows - SPECIALS
    return prove_rows(rows, vocabulary)


def _check_agreement(folder: Path, source: Path, scripts: dict[str, list[str]], ours: dict[str, int]) -> None:
    for name, command in scripts.items():
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        theirs = json.loads(done.stdout.strip().splitlines()[-1])
        if theirs != ours:
            raise AssertionError(f"{name} gives other ids than ours: {theirs} against {ours}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benchmark of pipeline ingest.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, choices=SIZES, help="default: 1; 16 for a table")
    parser.add_argument("--case", choices=("files", "tar", *TABLES), default="files")
    parser.add_argument("--peers", default=peers_python(), help="Python interpreter of the peers' environment")
    parser.add_argument("--floor-only", action="store_true", help="without other libraries")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
