"""One mutated delivery: ingested, ingested again, and everything looked at that has to hold. Parquet is scored too."""

import bz2
import contextlib
import gzip
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from tests.fuzz.lines import inner_lines, lines_of_header, lines_of_json, lines_of_table, text_lines
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import Seed, make_seed
from tests.support.paths import ROOT

DONE, NOTHING_NEW, BAD_DATA, NO_INPUT, OUR_FAULT = 0, 99, 65, 66, 70
ALLOWED = {DONE, NOTHING_NEW, BAD_DATA, NO_INPUT}
MEMORY_ERRORS = ("out of memory", "MemoryError")
PROCESS_SECONDS = 60
KNOWN_ROWS = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did."""

    code: int
    stdout: str
    stderr: str


@dataclass(slots=True)
class Result:
    """What became of one input.

    Args:
        codes: by command, `ingest`, `again` and `score`.
        problems: what should not be.
    """

    number: int
    name: str
    codes: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def make_input(seed: int, number: int) -> tuple[Seed, bytes, Random]:
    """The file of that number, and the random numbers to go on with. Most of the compressed ones are damaged inside."""
    random = Random(f"{seed}/{number}")
    made = make_seed(random)
    if random.random() < 0.75:
        return made, made.pack(mutated(made.plain, random)), random
    return made, mutated(made.pack(made.plain), random), random


def prepare(folder: Path) -> None:
    """A lake with reviews in it and one with a model, from which the inputs' own are copied."""
    from tests.support.scoring import make_lake

    known = folder / "known.csv"
    rows = "".join(f"known film {number},{'pos' if number % 2 else 'neg'}\n" for number in range(KNOWN_ROWS))
    known.write_text(f"text,label\n{rows}")
    outcome = in_process("ingest", known, "--lake", folder / "fed")
    assert outcome.code == DONE, outcome.stderr
    make_lake(folder / "model")


def check(prepared: Path, workplace: Path, seed: int, number: int, *, process: bool = False) -> Result:
    """Runs one input in `workplace`, a folder that is emptied first.

    Args:
        prepared: see `prepare`.
        process: commands run as processes of their own.
    """
    shutil.rmtree(workplace, ignore_errors=True)
    workplace.mkdir(parents=True)
    made, content, random = make_input(seed, number)
    path = workplace / f"reviews{made.suffix}"
    path.write_bytes(content)
    result = Result(number, made.suffix)
    run = in_a_process if process else in_process
    try:
        _check_ingest(prepared, workplace, path, made, random, run, result)
        if made.suffix == ".parquet":
            _check_score(prepared, workplace, path, run, result)
    except Exception:
        result.problems.append(traceback.format_exc())
    return result


def in_process(*arguments: object, debug: bool = False) -> Outcome:
    """Runs the command line in this process; `debug` prints the tracebacks of errors."""
    from pipeline.cli.app import run_command_line

    out, err = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    with (
        mock.patch.object(sys, "argv", ["pipeline", *map(str, arguments)]),
        mock.patch.dict(os.environ, {"PIPELINE_DEBUG": "1" if debug else "0"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run_command_line()
    root.handlers[:] = handlers
    root.setLevel(level)
    if code == OUR_FAULT and not debug:
        return Outcome(code, out.getvalue(), err.getvalue() + in_process(*arguments, debug=True).stderr)
    return Outcome(code, out.getvalue(), err.getvalue())


def in_a_process(*arguments: object) -> Outcome:
    """Runs the command as a person would."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PROCESS_SECONDS,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def _check_ingest(prepared: Path, workplace: Path, path: Path, made: Seed, random: Random, run: Any, result: Result) -> None:
    lake = workplace / "lake"
    fed = random.random() < 0.3
    if fed:
        shutil.copytree(prepared / "fed", lake)
    arguments: list[object] = ["ingest", path, "--lake", lake, "--workers", random.choice((0, 2))]
    with_ids = made.suffix not in (".txt", ".tar") and random.random() < 0.2
    if with_ids:
        arguments += ["--id-column", "id"]
    if random.random() < 0.7:
        arguments += ["--max-bad", "100%"]
    first = run(*arguments)
    result.codes["ingest"] = first.code
    _check_outcome("ingest", first, result)
    rows = _rows_of(lake)
    if first.code in (DONE, NOTHING_NEW):
        receipt = json.loads(first.stdout.splitlines()[-1])
        _check_counts(receipt, rows, fed, result)
        if made.text and not with_ids:
            _check_lines(path, made.text, receipt, rows, result)
    elif len(rows) != KNOWN_ROWS * fed:
        result.problems.append(f"ingest ended with {first.code}, and the table has {len(rows)} rows")
    again = run(*arguments)
    result.codes["again"] = again.code
    _check_outcome("ingest again", again, result)
    expected = NOTHING_NEW if first.code == DONE else first.code
    if again.code != expected:
        result.problems.append(f"ingest ended with {first.code}, and a second one with {again.code}: {again.stderr}")
    if _rows_of(lake) != rows:
        result.problems.append("a second ingest of the same file changed the table")
    if (lake / ".scratch" / "ingest").exists():
        result.problems.append("the scratch folder is still there")


def _check_outcome(command: str, outcome: Outcome, result: Result) -> None:
    if outcome.code not in ALLOWED:
        result.problems.append(f"{command} ended with {outcome.code}: {outcome.stderr}")
    elif "Traceback" in outcome.stderr:
        result.problems.append(f"{command} printed a traceback: {outcome.stderr}")
    if any(words in outcome.stderr for words in MEMORY_ERRORS):
        result.problems.append(f"{command} ran out of memory: {outcome.stderr}")


def _check_counts(receipt: dict[str, Any], rows: Counter[str], fed: bool, result: Result) -> None:
    counts = {name: receipt[name] for name in ("read", "written", "rejected", "known")}
    if counts["read"] != counts["written"] + counts["rejected"] + counts["known"]:
        result.problems.append(f"the receipt does not add up: {counts}")
    if rows.total() != counts["written"] + KNOWN_ROWS * fed:
        result.problems.append(f"the table has {rows.total()} rows beside {counts}; known before: {KNOWN_ROWS * fed}")


def _rows_of(lake: Path) -> Counter[str]:
    """Ids in the table, as Delta and Parquet readers of others see them."""
    if not (lake / "tokens").exists():
        return Counter()
    table = DeltaTable(lake / "tokens")
    found: Counter[str] = Counter()
    for uri in table.file_uris():
        found.update(pq.read_table(uri.removeprefix("file://"), columns=["review_id"])["review_id"].to_pylist())
    return found


def _check_lines(path: Path, kind: str, receipt: dict[str, Any], rows: Counter[str], result: Result) -> None:
    """Every line is accounted for: header + blank + lines of rows + rejects + lines inside of values."""
    content = _unpacked(path)
    numbers = [int(review_id.rpartition("#")[2]) for review_id in rows if path.name in review_id]
    rejected = _rejected_rows(receipt, path.name)
    if kind == "jsonl":
        expected = lines_of_json(content)
    else:
        expected = list(range(receipt["read"]))
        _check_lines_of_table(path, content, receipt, result)
    if sorted(numbers + rejected) != expected:
        result.problems.append(f"rows {sorted(numbers)} and rejects {sorted(rejected)} are not the rows {expected}")


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".bz2":
        return bz2.decompress(content)
    return bytes(pa.input_stream(io.BytesIO(content), compression="zstd").read()) if path.suffix == ".zst" else content


def _rejected_rows(receipt: dict[str, Any], name: str) -> list[int]:
    if "rejects" not in receipt["outputs"]:
        return []
    table = pq.read_table(receipt["outputs"]["rejects"])
    return [row["row"] for row in table.to_pylist() if row["source"].endswith(name)]


def _check_lines_of_table(path: Path, content: bytes, receipt: dict[str, Any], result: Result) -> None:
    """The values are the product's; what is counted of them, and of the file, is counted here."""
    from pipeline.readers import csv_records
    from pipeline.readers.base import Reading, Source
    from pipeline.readers.dialect import sniff
    from pipeline.readers.registry import format_of

    found = format_of(path.name)
    assert found is not None
    source = Source(path=path, name=path.name, format=found[0].name, compression=found[1])
    dialect = sniff(content[: 1 << 20], source.format, whole=True)
    if dialect.encoding != "utf-8":
        errors = "surrogatepass" if dialect.encoding.startswith("utf-") else "surrogateescape"
        content = content.decode(dialect.encoding, errors).encode("utf-8", errors)
    lines = lines_of_table(content)
    header = lines_of_header(lines, dialect.delimiter, dialect.quote, dialect.escape)
    good = bad = inner = 0
    with _whole_excerpts():
        for rows in csv_records.read(source, Reading(label="label")):
            good += len(rows.table)
            inner += sum(inner_lines(value) for column in rows.table for value in column.to_pylist() if value)
            bad += sum(len(text_lines(fault.excerpt)) for fault in rows.bad)
    if len(lines) != header + good + bad + inner:
        result.problems.append(
            f"{len(lines)} lines that are not blank: {header} of the header, {good} rows, {inner} more in their values, "
            f"{bad} of rejects"
        )
    if good > receipt["read"]:
        result.problems.append(f"{receipt['read']} rows read, but the file has {good}")


@contextlib.contextmanager
def _whole_excerpts() -> Iterator[None]:
    with (
        mock.patch("pipeline.readers.csv_records.EXCERPT_BYTES", 1 << 30),
        mock.patch("pipeline.readers.csv_records.announce"),
    ):
        yield


def _check_score(prepared: Path, workplace: Path, path: Path, run: Any, result: Result) -> None:
    lake, output = workplace / "model", workplace / "predictions.parquet"
    shutil.copytree(prepared / "model", lake)
    outcome = run("score", path, "--lake", lake, "--output", output)
    result.codes["score"] = outcome.code
    _check_outcome("score", outcome, result)
    if outcome.code == DONE:
        rows = pq.read_table(output).num_rows
        receipt = json.loads(outcome.stdout.splitlines()[-1])
        if rows != receipt["written"]:
            result.problems.append(f"score: {rows} rows were written, the receipt says {receipt['written']}")
    elif output.exists():
        result.problems.append(f"score ended with {outcome.code} and left an output")
