"""Rows of one run that have the same ID and differ: which of them counts."""

import gzip
import random
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datapipes.collect import Collector, Findings
from pipeline.datapipes.repeated_ids import RepeatedIds
from pipeline.datapipes.tokenize_reviews import ROW_SCHEMA, TokenizedBatch
from pipeline.engines.ingest import ingest_engine
from pipeline.errors import DataError
from pipeline.lake.identity import content_sha256
from pipeline.lake.known import SAME, KeyIndex, Keys
from pipeline.lake.reject_writer import RejectWriter
from pipeline.lake.table import TokenTable
from pipeline.readers.labels import LabelMap
from pipeline.text.tokenizers import tokenize
from schemas.run import Receipt
from tests.support.commands import run_here
from tests.support.ingested import files_of, ingest, rejects_of, rows_of, texts_of
from tests.support.tables import write_csv

HEADER = "id,text,label"
LAST = {"id_column": "id", "id_conflict": "last"}


def outcome(receipt: Receipt) -> tuple[int, ...]:
    """Rows that were read, written, known and rejected, and that replaced others or were superseded."""
    counts = (receipt.read, receipt.written, receipt.known, receipt.rejected)
    return (*counts, receipt.metrics["replaced"], receipt.metrics["superseded"])


def said(lake: Path) -> dict[str, str]:
    """Review id → content."""
    return {row["review_id"]: row["content_sha256"] for row in rows_of(lake)}


def contents(*lines: str) -> dict[str, str]:
    """The same of lines of a file."""
    rows = (line.split(",") for line in lines)
    return {key: content_sha256(text.encode(), label, None, "train", None) for key, text, label in rows}


def test_the_last_file_counts(tmp_path: Path) -> None:
    lake, folder = tmp_path / "lake", tmp_path / "deltas"
    folder.mkdir()
    write_csv(folder / "01.csv", HEADER, "a,fine,pos", "b,dull,neg")
    write_csv(folder / "02.csv", HEADER, "b,not dull at all,pos", "c,bad,neg")
    assert outcome(ingest(lake, folder, **LAST)) == (4, 3, 1, 0, 0, 1)
    assert said(lake) == contents("a,fine,pos", "b,not dull at all,pos", "c,bad,neg")
    again = ingest(lake, folder, **LAST)
    assert again.exit_code == 99 and outcome(again) == (4, 0, 4, 0, 0, 1)
    write_csv(folder / "03.csv", HEADER, "b,dull,neg", "a,bad,neg", "a,fine,pos")
    assert outcome(ingest(lake, folder, **LAST)) == (7, 1, 6, 0, 1, 2), "what was said in the beginning may be true again"
    assert said(lake) == contents("a,fine,pos", "b,dull,neg", "c,bad,neg")
    assert ingest(lake, folder, **LAST, prune=True).exit_code == 99


def test_deliveries_together_give_what_they_give_night_by_night(tmp_path: Path) -> None:
    folder = tmp_path / "deltas"
    folder.mkdir()
    nights = [["a,fine,pos", "b,dull,neg"], ["b,good,pos", "c,bad,neg"], ["a,so so,neg", "c,bad,neg"]]
    for night, lines in enumerate(nights):
        write_csv(folder / f"{night}.csv", HEADER, *lines)
        ingest(tmp_path / "nightly", folder, **LAST)
    ingest(tmp_path / "at once", folder, **LAST)
    expected = contents("a,so so,neg", "b,good,pos", "c,bad,neg")
    assert said(tmp_path / "nightly") == said(tmp_path / "at once") == expected


def test_superseded_rows_leave_no_trace(tmp_path: Path) -> None:
    """The vocabulary, labels and shards are those of a file that has only the last rows."""
    lines = [f"{number},word{number} fine film,{'pos' if number % 2 else 'neg'}" for number in range(40)]
    old = ["3,obsolete obsolete,maybe", "7,fine,pos", "7,outdated,"]
    for name, rows in (("a", [*old, *lines]), ("b", lines)):  # each in a folder of its own, under the same name
        (tmp_path / name).mkdir()
        ingest(tmp_path / name / "lake", write_csv(tmp_path / name / "r.csv", HEADER, *rows), **LAST)
    for lake in (tmp_path / "a" / "lake", tmp_path / "b" / "lake"):
        assert "obsolete" not in texts_of(lake).values() and {row["label"] for row in rows_of(lake)} == {0, 1}
    a, b = (set((tmp_path / name / "lake" / "vocabulary").glob("*.parquet")) for name in "ab")
    assert {path.name for path in a} == {path.name for path in b}


def test_a_new_vocabulary_reads_the_last_rows_too(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", HEADER, "a,fine,pos", "b,dull,neg", "a,good,pos")
    ingest(tmp_path / "lake", source, **LAST)
    assert outcome(ingest(tmp_path / "lake", source, **LAST, rebuild_vocab=True, max_vocab=10)) == (3, 2, 1, 0, 0, 1)
    assert said(tmp_path / "lake") == contents("a,good,pos", "b,dull,neg")


def test_dedupe_compares_with_what_counts(tmp_path: Path) -> None:
    """The first row of `b` is another one than the table's, which stays all the same, so what `a` says is a duplicate."""
    lake, folder = tmp_path / "lake", tmp_path / "deltas"
    folder.mkdir()
    write_csv(folder / "2.csv", HEADER, "b,good,pos", "c,bad,neg")
    ingest(lake, folder, **LAST, dedupe=True)
    write_csv(folder / "1.csv", HEADER, "a,good,pos", "b,dull,neg")
    assert outcome(ingest(lake, folder, **LAST, dedupe=True)) == (4, 0, 4, 0, 0, 1)
    assert said(lake) == contents("b,good,pos", "c,bad,neg")


def test_a_rejected_row_corrects_nothing(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", HEADER, "a,fine,1", "a,good,9", "b,dull,0", "b,,0")
    receipt = ingest(tmp_path / "lake", source, **LAST, label_map=LabelMap.parse("neg=0 pos=1"))
    assert outcome(receipt) == (4, 2, 0, 2, 0, 0)
    assert sorted(rejects_of(receipt)) == [(1, "unmapped"), (3, "missing_text")]


def test_rows_of_a_damaged_file_correct_nothing(tmp_path: Path) -> None:
    lake, folder = tmp_path / "lake", tmp_path / "deltas"
    folder.mkdir()
    write_csv(folder / "1.csv", HEADER, "a,fine,pos", "b,dull,neg")
    rows = "".join(f"{name},{'good ' * 3000}{random.Random(name).random()},pos\n" for name in "abcdefgh" * 40)
    (folder / "2.csv.gz").write_bytes(gzip.compress(f"{HEADER}\n{rows}".encode())[:-9])
    receipt = ingest(lake, folder, **LAST)
    assert (receipt.written, receipt.quarantined, receipt.metrics["superseded"]) == (2, 1, 0)
    assert said(lake) == contents("a,fine,pos", "b,dull,neg")


@pytest.mark.parametrize("in_one_file", [True, False])
def test_the_first_counts_unless_told_otherwise_and_the_remedy_helps(tmp_path: Path, in_one_file: bool) -> None:
    lake, folder = tmp_path / "lake", tmp_path / "deltas"
    folder.mkdir()
    if in_one_file:
        write_csv(folder / "1.csv", HEADER, "a,fine,pos", "b,dull,neg", "b,good,pos", "c,bad,neg")
    else:
        write_csv(folder / "1.csv", HEADER, "a,fine,pos", "b,dull,neg")
        write_csv(folder / "2.csv", HEADER, "b,good,pos", "c,bad,neg")
    done = run_here("ingest", folder, "--id-column", "id", "--lake", lake)
    assert "1 row rejected: duplicate_id" in done.stderr
    remedy = "let the last one count with --id-conflict last"
    assert remedy in done.stderr and said(lake)["b"] == contents("b,dull,neg")["b"]
    done = run_here("ingest", folder, "--id-column", "id", *remedy.split()[-2:], "--lake", lake)
    assert "rejected" not in done.stderr and outcome(Receipt(**done.receipt)) == (4, 1, 3, 0, 1, 1)
    assert said(lake)["b"] == contents("b,good,pos")["b"]
    (lake / "pipeline.toml").write_text('[ingest]\nid-column = "id"\nid-conflict = "last"\n')
    assert run_here("ingest", folder, "--lake", lake).code == 99


@pytest.fixture
def daily(tmp_path: Path) -> Path:
    """A folder of daily files, of which the second corrects the first."""
    texts = ["an altogether lovely film", "a dull and endless film", "not bad", "worse than the book", "see it twice"]
    rows = [f"r{number},{text} {number},{'pos' if number % 2 else 'neg'}" for number, text in enumerate(texts * 6)]
    (tmp_path / "daily").mkdir()
    write_csv(tmp_path / "daily" / "01.csv", "review_id,text,label", *rows)
    write_csv(tmp_path / "daily" / "02.csv", "review_id,text,label", *(row.replace(" ", " too ") for row in rows[:12]))
    return tmp_path / "daily"


def test_what_inspect_says_of_ids_that_repeat_across_files_helps(tmp_path: Path, daily: Path) -> None:
    words = " ".join(run_here("inspect", daily).stdout.split())
    assert "'review_id' is not an ID: its values repeat across files" in words and "No column for IDs" not in words
    remedy = re.search(
        r"ingest with (--id-column \S+ --id-conflict last); 'pipeline init (--id-column \S+)' writes both", words
    )
    assert remedy is not None, words
    done = run_here("ingest", daily, *remedy[1].split(), "--lake", tmp_path / "lake")
    assert done.code == 0 and outcome(Receipt(**done.receipt)) == (42, 30, 12, 0, 0, 12)
    done = run_here("init", daily, *remedy[2].split(), "--lake", tmp_path / "other")
    assert "of several rows with one, the last counts" in " ".join(done.stdout.split())
    done = run_here("ingest", "--lake", tmp_path / "other")
    assert done.code == 0 and outcome(Receipt(**done.receipt)) == (42, 30, 12, 0, 0, 12)
    assert said(tmp_path / "lake") == said(tmp_path / "other")


def test_init_keeps_what_was_decided_about_ids(tmp_path: Path, daily: Path) -> None:
    lake, decided = tmp_path / "lake", 'id-conflict = "last"\n'
    run_here("init", daily, "--id-column", "review_id", "--lake", lake)
    text = (lake / "pipeline.toml").read_text()
    assert decided in text and "# IDs repeat across files" in text
    (daily / "02.csv").unlink()
    assert run_here("init", daily, "--id-column", "review_id", "--lake", lake, "--force").code == 0
    again = (lake / "pipeline.toml").read_text()
    assert again.count(decided) == 1 and again.count("# IDs repeat across files") == 1
    assert run_here("init", daily, "--id-column", "review_id", "--lake", tmp_path / "other").code == 0
    assert decided not in (tmp_path / "other" / "pipeline.toml").read_text()


def test_an_unknown_choice_is_refused(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", HEADER, "a,fine,pos")
    done = run_here("ingest", source, "--id-conflict", "newest", "--lake", tmp_path / "lake")
    assert done.code == 2 and "first" in done.stderr and "last" in done.stderr


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("workers", [0, 2])
def test_random_deliveries(tmp_path: Path, seed: int, workers: int) -> None:
    """After each night the table says of each review what the last row says, in the order of paths and rows."""
    chance, lake, folder = random.Random(seed), tmp_path / "lake", tmp_path / "deltas"
    folder.mkdir()
    files: dict[str, list[tuple[str, str]]] = {}
    prune = seed % 2 == 1
    for night in range(5):
        for name in chance.sample("abcd", chance.randint(1, 3)):
            if name in files and chance.random() < 0.2:
                del files[name]
                (folder / f"{name}.csv").unlink()
                continue
            rows = [(f"id{chance.randint(0, 30)}", f"says {chance.randint(0, 3)}") for _ in range(chance.randint(1, 60))]
            files[name] = (files.get(name, []) + rows)[-90:] if chance.random() < 0.5 else rows
            write_csv(folder / f"{name}.csv", HEADER, *(f"{key},{text},pos" for key, text in files[name]))
        if not files:
            continue
        expected = contents(*(f"{key},{text},pos" for name in sorted(files) for key, text in files[name]))
        receipt = ingest(lake, folder, **LAST, prune=prune, workers=workers)
        assert receipt.read == receipt.written + receipt.known and not receipt.rejected
        found = said(lake)
        assert len(found) == len(rows_of(lake)) == TokenTable.open(lake / "tokens").rows
        assert {key: found.get(key) for key in expected} == expected, night
        assert ingest(lake, folder, **LAST, prune=prune, workers=workers).exit_code == 99
    fresh = tmp_path / "fresh"
    ingest(fresh, folder, **LAST, workers=workers)
    assert said(fresh) == expected


def test_many_rows_of_several_batches(tmp_path: Path) -> None:
    """The shards are the same for any number of workers."""
    rows = [f"{number % 3001},text {number} of many,{'pos' if number % 2 else 'neg'}" for number in range(9000)]
    source = write_csv(tmp_path / "r.csv", HEADER, *rows)
    for workers in (0, 2):
        assert outcome(ingest(tmp_path / f"{workers}", source, **LAST, workers=workers)) == (9000, 3001, 5999, 0, 0, 5999)
    assert files_of(tmp_path / "0") == files_of(tmp_path / "2")
    assert {int(row["row"]) for row in rows_of(tmp_path / "0")} == set(range(9000 - 3001, 9000))


def test_later_rows_that_are_gone_in_the_second_reading_stop_the_run(tmp_path: Path) -> None:
    """Else the review would have no row at all, and `--prune` would remove it."""
    keys, contents = np.array([5], np.uint64), np.array([50], np.uint64)
    last = KeyIndex()
    last.add(keys, contents + 1)
    with (
        ingest_engine("local", 0, tmp_path) as engine,
        engine.spill(tmp_path / "spill.arrow") as spill,
        RejectWriter(tmp_path / "rejects.parquet") as rejects,
    ):
        collector = Collector(
            spill=spill, rejects=rejects, counts=None, repeated=RepeatedIds(), findings=Findings(last=last)
        )
        collector.take(_known(keys, contents))
        assert (collector.known, collector.superseded) == (1, 1)
        with pytest.raises(DataError, match=r"later rows of 1 reviews with the same ID .* are gone\. Nothing was committed"):
            collector.in_conflict()
        collector.take(_known(keys, contents + 1))
        assert not collector.in_conflict() and (collector.known, collector.superseded) == (2, 1)


def _known(keys: Keys, contents: Keys) -> TokenizedBatch:
    """Rows that the table has."""
    nothing = pa.RecordBatch.from_pylist([], ROW_SCHEMA)
    columns = [pa.array(["a"] * len(keys)), pa.array(["r.csv"] * len(keys)), pa.array(range(len(keys)), pa.int64())]
    return TokenizedBatch(
        rows=nothing,
        tokens=tokenize("basic_english", pa.array([], pa.string())),
        replaced=np.zeros(0, np.bool_),
        keys=keys[:0],
        contents=contents[:0],
        known_keys=keys,
        known_contents=contents,
        known_rows=pa.RecordBatch.from_arrays(columns, ["review_id", "source", "row"]),
        bad=[],
    )


@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=8), max_size=8), st.integers(1, 9))
def test_repeated_ids_know_the_last_content_of_keys_whose_rows_differ(
    batches: Iterable[list[tuple[int, int]]], most: int
) -> None:
    repeated = RepeatedIds(most_rows=most)
    rows: dict[int, list[int]] = {}
    for number, batch in enumerate(batches):
        before = repeated.snapshot()
        keys, contents = (np.array([row[i] for row in batch], np.uint64) for i in (0, 1))
        repeated.add(keys, contents, contents == 2)
        if number % 3 == 2:
            repeated.restore(before)
            continue
        for key, content in batch:
            rows.setdefault(key, []).append(content)
    found = repeated.conflicting()
    wanted = {key: said[-1] for key, said in rows.items() if 2 in said}
    assert set(found.keys().tolist()) == set(wanted)
    asked = np.array(list(wanted), np.uint64)
    assert (found.states(asked, np.array(list(wanted.values()), np.uint64)) == SAME).all()
