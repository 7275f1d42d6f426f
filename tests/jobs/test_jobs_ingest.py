"""Ingest, as a user would see it: rows in the table, rejects, receipts, what happens the second time."""

import gzip
import json
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli.summary import summary
from pipeline.errors import DataError, LockedError, UsageError
from pipeline.lake.locks import locked
from pipeline.lake.table import TokenTable
from pipeline.lake.vocabularies import read_vocabulary
from schemas.run import Receipt
from tests.support.commands import run_here
from tests.support.fork_server import KILL, forked_pipeline
from tests.support.ingested import files_of, ingest, rejects_of, rows_of, texts_of
from tests.support.paths import ROOT
from tests.support.tables import write_csv


def test_aclimdb_layout_tells_split_label_stars_and_group(tmp_path: Path, corpus: Path) -> None:
    receipt = ingest(tmp_path / "lake", corpus)
    assert (receipt.read, receipt.written, receipt.rejected, receipt.known, receipt.exit_code) == (130, 130, 0, 0, 0)
    rows = {row["source"].split("aclImdb/")[1]: row for row in rows_of(tmp_path / "lake")}
    facts = ("label", "stars", "split", "group", "row")
    assert [rows["train/pos/4_9.txt"][f] for f in facts] == [1, 9, "train", "http://films.example/train1", 0]
    assert [rows["test/neg/5_2.txt"][f] for f in facts] == [0, 2, "test", "http://films.example/test1", 0]
    assert [rows["train/unsup/3_0.txt"][f] for f in facts] == [None, None, "unsup", None, 0]
    words = texts_of(tmp_path / "lake")
    assert words[rows["train/pos/1_9.txt"]["review_id"]] == "film 1 was fine , and train is its split . it ' s so fine !"


def test_text_of_test_makes_no_vocabulary(tmp_path: Path, corpus: Path) -> None:
    receipt = ingest(tmp_path / "lake", corpus)
    tokens = read_vocabulary(receipt.outputs["vocabulary"]).tokens.to_pylist()
    assert "train" in tokens
    assert "judged" in tokens  # unsup counts
    assert "test" not in tokens


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2"])
def test_an_archive_gives_what_the_folder_gives(tmp_path: Path, corpus: Path, suffix: str) -> None:
    archive = tmp_path / f"corpus.tar{suffix}"
    with tarfile.open(archive, f"w:{suffix[1:]}") as tar:
        # The lists of films stand last, as in the real archive.
        for path in sorted(corpus.rglob("*.txt"), key=lambda p: (p.name.startswith("urls"), str(p))):
            tar.add(path, path.relative_to(corpus).as_posix())
    ingest(tmp_path / "a", corpus)
    ingest(tmp_path / "b", archive)
    place = lambda row: row["source"].split("aclImdb/")[1]  # noqa: E731
    facts = ("ids", "label", "stars", "split", "group", "content_sha256")
    a, b = ({place(row): [row[f] for f in facts] for row in rows_of(tmp_path / lake)} for lake in "ab")
    assert a == b
    assert TokenTable.open(tmp_path / "a" / "tokens").vocabulary == TokenTable.open(tmp_path / "b" / "tokens").vocabulary


def test_bytes_are_the_same_for_any_number_of_workers(tmp_path: Path, corpus: Path) -> None:
    lakes = [tmp_path / f"lake{workers}" for workers in (0, 1, 2, 4)]
    for workers, lake in zip((0, 1, 2, 4), lakes, strict=True):
        ingest(lake, corpus, workers=workers)
    assert files_of(lakes[0])
    assert all(files_of(lake) == files_of(lakes[0]) for lake in lakes[1:])


def test_a_second_run_has_nothing_to_do(tmp_path: Path, corpus: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, corpus)
    before = {path: path.stat().st_mtime_ns for path in lake.glob("tokens/**/*") if path.is_file()}
    again = ingest(lake, corpus)
    assert (again.exit_code, again.read, again.known, again.written) == (99, 130, 130, 0)
    assert {path: path.stat().st_mtime_ns for path in lake.glob("tokens/**/*") if path.is_file()} == before


def test_one_more_file_is_one_more_row_with_the_same_vocabulary(tmp_path: Path, corpus: Path) -> None:
    lake = tmp_path / "lake"
    first = ingest(lake, corpus)
    (corpus / "aclImdb/train/pos/777_9.txt").write_text("An unheard-of word, and a good film.")
    second = ingest(lake, corpus)
    assert (second.written, second.known, second.outputs["table_version"]) == (1, 130, 1)
    assert second.outputs["vocabulary"] == first.outputs["vocabulary"]
    assert [text for name, text in texts_of(lake).items() if "777" in name] == ["<unk> <unk> <unk> , and <unk> good film ."]


def test_a_changed_file_replaces_its_row_and_leaves_the_old_version_readable(tmp_path: Path, corpus: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, corpus)
    (corpus / "aclImdb/train/neg/3_2.txt").write_text("film was lovely")
    receipt = ingest(lake, corpus)
    assert (receipt.written, receipt.known, receipt.metrics["replaced"]) == (1, 129, 1)
    rows = rows_of(lake)
    assert len(rows) == len({row["review_id"] for row in rows}) == 130
    assert "film was lovely" in texts_of(lake).values()
    assert TokenTable.open(lake / "tokens", 0).rows == 130
    assert ingest(lake, corpus).exit_code == 99


def test_what_is_said_of_repeated_reviews_is_true_in_the_next_run(tmp_path: Path) -> None:
    lake = tmp_path / "lake"

    def delivered(name: str, *options: str) -> tuple[str, str, int]:
        source = write_csv(tmp_path / name, "text,label", "A fine film,pos", "A fine film,pos", f"A dull film {name},neg")
        done = run_here("ingest", source, *options, "--lake", lake)
        return done.stderr, dict(summary(Receipt(**done.receipt)).facts)["repeated"], done.receipt["written"]

    log, fact, written = delivered("a.csv")
    assert "To skip such reviews in later runs, use --dedupe, or put dedupe = true into the table [ingest]" in log
    assert (fact, written) == ("1 have the same text and label as others; --dedupe skips such reviews in later runs", 3)
    for options in (("--dedupe",), ()):
        log, fact, written = delivered(f"b{len(options)}.csv", *options)
        assert (fact, written) == ("2 have the same text and label as others; skipped", 1) and "--dedupe" not in log
        (lake / "pipeline.toml").write_text("[ingest]\ndedupe = true\n")


def test_a_copy_is_kept_or_with_dedupe_counted_and_left_out(tmp_path: Path, corpus: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, corpus)
    shutil.copy(corpus / "aclImdb/train/neg/3_2.txt", corpus / "aclImdb/train/neg/900_2.txt")
    left_out = ingest(lake, corpus, dedupe=True)
    assert (left_out.exit_code, left_out.metrics["duplicates"], left_out.known) == (99, 1, 131)
    kept = ingest(lake, corpus)
    assert (kept.exit_code, kept.written, len(rows_of(lake))) == (0, 1, 131)


def test_csv_with_ids_groups_splits_and_quoted_lines(tmp_path: Path) -> None:
    source = write_csv(
        tmp_path / "r.csv",
        "order,review,stars,film,part",
        'a1,"Good, and\nlong",pos,f1,train',
        "",
        "a2,Bad,neg,f2,test",
        "a3,Unjudged,,f2,",
    )
    columns = {"text_column": ("review",), "label_column": "stars", "id_column": "order"}
    ingest(tmp_path / "lake", source, **columns, group_column="film", split_column="part")
    found = {row["review_id"]: (row["label"], row["group"], row["split"]) for row in rows_of(tmp_path / "lake")}
    assert found == {"a1": (1, "f1", "train"), "a2": (0, "f2", "test"), "a3": (None, "f2", "unsup")}


def test_bad_rows_of_a_csv_are_rejected_with_their_numbers(tmp_path: Path) -> None:
    source = tmp_path / "r.csv"
    lines = [b"id,text,label", b"0,fine,pos", b"1,too,many,columns", b"2,caf\xff,neg", b"3,nul\0byte,neg", b"4,,pos"]
    more = [b"5,good,pos", b"6,few", b"5,again,pos", b"7,...,pos", b"8,last,neg"]
    source.write_bytes(b"\n".join(lines + more) + b"\n")
    receipt = ingest(tmp_path / "lake", source, id_column="id", tokenizer="punctuation", encoding="utf-8")
    assert (receipt.read, receipt.written, receipt.rejected) == (10, 3, 7)
    assert sorted(rejects_of(receipt)) == [
        (1, "malformed_row"),
        (2, "invalid_utf8"),
        (3, "nul_byte"),
        (4, "missing_text"),
        (6, "malformed_row"),
        (7, "duplicate_id"),
        (8, "empty_text"),
    ]
    assert {row["review_id"]: row["row"] for row in rows_of(tmp_path / "lake")} == {"0": 0, "5": 5, "8": 9}
    again = ingest(tmp_path / "lake", source, id_column="id", encoding="utf-8")
    assert (again.exit_code, again.known, again.rejected) == (99, 3, 7)
    assert len(list((tmp_path / "lake" / "rejects").iterdir())) == 1


def test_compressed_tables_give_the_same_rows(tmp_path: Path) -> None:
    records = [{"text": f"review number {i}", "label": "pos" if i % 2 else "neg"} for i in range(20)]
    table = pa.Table.from_pylist(records)
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    rows = "".join(f"{r['text']}\t{r['label']}\n" for r in records).encode()
    (tmp_path / "j.jsonl").write_bytes(lines)
    (tmp_path / "j.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "t.tsv").write_bytes(b"text\tlabel\n" + rows)
    (tmp_path / "t.tsv.zst").write_bytes(pa.compress(b"text\tlabel\n" + rows, codec="zstd", asbytes=True))
    pq.write_table(table, tmp_path / "p.parquet")
    pq.write_table(table.cast(pa.schema([("text", pa.large_string()), ("label", pa.string())])), tmp_path / "l.parquet")
    seen = []
    for number, path in enumerate(sorted(tmp_path.glob("*.*"))):
        ingest(tmp_path / "lakes" / str(number), path)
        seen.append([(row["row"], row["ids"], row["label"]) for row in rows_of(tmp_path / "lakes" / str(number))])
    assert len(seen) == 6
    assert len(seen[0]) == 20
    assert all(one == seen[0] for one in seen)


def test_broken_json_on_line_three_is_one_reject(tmp_path: Path) -> None:
    source = tmp_path / "r.jsonl"
    source.write_text('{"text": "good", "label": 1}\n\n{"text": "bad",\n[1]\n{"text": 5}\n{"text": "awful", "label": 0.0}\n')
    receipt = ingest(tmp_path / "lake", source)
    assert rejects_of(receipt) == [(2, "malformed_row"), (3, "malformed_row"), (4, "malformed_row")]
    assert {row["row"]: row["label"] for row in rows_of(tmp_path / "lake")} == {0: 1, 5: 0}


def test_numeric_labels_of_parquet_with_nulls(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b", "c"], "label": pa.array([1.0, None, 0.0])})
    pq.write_table(table, tmp_path / "r.parquet")
    receipt = ingest(tmp_path / "lake", tmp_path / "r.parquet")
    assert receipt.metrics["labels"] == ["0", "1"]
    found = [(row["label"], row["split"]) for row in rows_of(tmp_path / "lake")]
    assert found == [(1, "train"), (0, "train"), (None, "unsup")]


def test_many_classes(tmp_path: Path) -> None:
    ingest(tmp_path / "lake", write_csv(tmp_path / "r.csv", "text,label", "a,10", "b,2", "c,1"))
    assert [row["label"] for row in rows_of(tmp_path / "lake")] == [2, 1, 0]


def test_an_unknown_label_is_rejected_until_the_vocabulary_is_rebuilt(tmp_path: Path) -> None:
    lake, source = tmp_path / "lake", write_csv(tmp_path / "r.csv", "text,label", "fine,pos", "dull,neg")
    ingest(lake, source)
    write_csv(source, "text,label", "fine,pos", "dull,mixed", "so so,mixed")
    receipt = ingest(lake, source)
    assert rejects_of(receipt) == [(1, "unknown_label"), (2, "unknown_label")]
    assert len(rows_of(lake)) == 2  # the row that changed to a bad one stays as it was
    rebuilt = ingest(lake, source, rebuild_vocab=True)
    assert (rebuilt.written, rebuilt.metrics["labels"]) == (3, ["mixed", "pos"])
    assert sorted(texts_of(lake).values()) == ["dull", "fine", "so so"]


def test_rebuilding_needs_the_text_of_every_known_review(tmp_path: Path) -> None:
    lake, one = tmp_path / "lake", write_csv(tmp_path / "one.csv", "text,label", "fine,pos")
    ingest(lake, one, write_csv(tmp_path / "two.csv", "text,label", "dull,neg"))
    before = files_of(lake)
    with pytest.raises(DataError, match=r"not in the given sources, the first from .*two.csv"):
        ingest(lake, one, rebuild_vocab=True)
    assert files_of(lake) == before


def test_more_bad_rows_than_allowed_commit_nothing_but_are_kept(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", "text,label", "fine,pos", "a,b,c", ",neg", "dull,neg")
    with pytest.raises(DataError, match=r"1 of 4 rows are malformed; --max-bad allows 0"):
        ingest(tmp_path / "lake", source, max_bad_rows=0)
    assert not (tmp_path / "lake" / "tokens").exists()
    assert len(list((tmp_path / "lake" / "rejects").iterdir())) == 1
    assert ingest(tmp_path / "lake", source, max_bad_rows=1).written == 2


def test_options_that_contradict_the_lakes_vocabulary_are_refused(tmp_path: Path, corpus: Path) -> None:
    ingest(tmp_path / "lake", corpus)
    with pytest.raises(UsageError, match=r"--tokenizer punctuation: .*basic_english.*--rebuild-vocab"):
        ingest(tmp_path / "lake", corpus, tokenizer="punctuation")
    with pytest.raises(UsageError, match="--max-vocab 5"):
        ingest(tmp_path / "lake", corpus, max_vocab=5)


def test_a_dry_run_writes_nothing(tmp_path: Path, corpus: Path) -> None:
    receipt = ingest(tmp_path / "lake", corpus, dry_run=True)
    assert (receipt.read, receipt.written) == (130, 130)
    assert not (tmp_path / "lake").exists()


def test_a_review_above_the_limit_is_rejected(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    (source / "a.txt").write_text("fine")
    (source / "b.txt").write_text("x" * ((1 << 20) + 1))
    (source / "c.txt").write_text("x " * (1 << 19))
    receipt = ingest(tmp_path / "lake", source)
    assert (receipt.written, rejects_of(receipt)) == (2, [(0, "too_large")])


def test_a_second_ingest_at_the_same_time_is_turned_away(tmp_path: Path, corpus: Path) -> None:
    with locked(tmp_path / "lake/.locks/ingest.lock", "a test"), pytest.raises(LockedError, match="try again"):
        ingest(tmp_path / "lake", corpus)


@pytest.mark.parametrize("number", [KILL, signal.SIGTERM])
def test_killed_and_run_again_nothing_is_lost_or_doubled(tmp_path: Path, corpus: Path, number: signal.Signals) -> None:
    """The kill falls in the middle of the first pass: there is a spill file, and far more to read than was read."""
    lake = tmp_path / "lake"
    lines = (f"film {n} was {'fine' if n % 2 else 'dull'} {'so ' * 50},{'pos' if n % 2 else 'neg'}" for n in range(100_000))
    write_csv(corpus / "zz.csv", "text,label", *lines)
    child = subprocess.Popen([*forked_pipeline(), "ingest", corpus, "--lake", lake], cwd=ROOT, stderr=subprocess.DEVNULL)
    scratch = lake / ".scratch" / "ingest"
    deadline = time.monotonic() + 60
    while not list(scratch.glob("*/spill.arrow")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(scratch.glob("*/spill.arrow"))
    child.send_signal(number)
    assert child.wait(60) == 128 + (signal.SIGKILL if number == KILL else signal.SIGTERM)
    assert not (lake / "tokens").exists()
    (corpus / "zz.csv").unlink()
    assert ingest(lake, corpus).written == 130
    assert not scratch.exists()
    assert len({row["review_id"] for row in rows_of(lake)}) == len(rows_of(lake)) == 130


@pytest.mark.slow
def test_the_real_reviews_give_the_books_counts(tmp_path: Path, imdb_archive: Path) -> None:
    """The 25,000 labelled reviews: the ten most frequent words and the size of the vocabulary, to the last digit."""
    folder = tmp_path / "imdb"
    with tarfile.open(imdb_archive) as tar:
        members = [m for m in tar if "/neg/" in m.name or "/pos/" in m.name]
        tar.extractall(folder, members=members, filter="data")
    receipt = ingest(tmp_path / "lake", folder, tokenizer="punctuation", max_vocab=0)
    vocabulary = read_vocabulary(receipt.outputs["vocabulary"])
    assert (receipt.written, len(vocabulary) - 2) == (25_000, 121_364)
    assert dict(zip(vocabulary.tokens[2:12].to_pylist(), vocabulary.counts[2:12].to_pylist(), strict=True)) == {
        "the": 334691,
        "and": 162228,
        "a": 161940,
        "of": 145326,
        "to": 135042,
        "is": 106855,
        "in": 93028,
        "it": 77099,
        "i": 75719,
        "this": 75190,
    }
