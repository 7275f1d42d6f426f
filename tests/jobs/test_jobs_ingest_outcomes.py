"""How an ingest ends: nothing new, promised by a dry run, failed, on a full disk."""

import json
from pathlib import Path
from typing import Any

import pytest
from deltalake.exceptions import DeltaError

from jobs.retract import RetractConfig
from jobs.retract import run as retract
from pipeline.datapipes.spill import SpillWriter
from pipeline.errors import CannotWriteError, DataError
from pipeline.lake.reject_writer import RejectWriter
from pipeline.readers.base import BATCH_ROWS
from pipeline.readers.labels import LabelMap
from tests.support.ingested import files_of, ingest, rejects_of, rows_of, texts_of
from tests.support.tables import write_csv


def test_a_vocabulary_made_anew_from_what_is_there_is_nothing_new(tmp_path: Path, corpus: Path) -> None:
    ingest(tmp_path / "lake", corpus)
    before = files_of(tmp_path / "lake")
    for dry_run in (True, False):
        again = ingest(tmp_path / "lake", corpus, rebuild_vocab=True, dry_run=dry_run)
        assert (again.exit_code, again.read, again.known, again.written) == (99, 130, 130, 0)
    assert files_of(tmp_path / "lake") == before


def test_a_dry_run_promises_what_the_run_does(tmp_path: Path) -> None:
    lake, source = tmp_path / "lake", write_csv(tmp_path / "r.csv", "text,label", "fine,pos", "a,b,c", "dull,neg")
    with pytest.raises(DataError, match=r"1 of 3 rows are malformed; --max-bad allows 0.* row 1: malformed_row"):
        ingest(lake, source, max_bad_rows=0, dry_run=True)
    assert not lake.exists()
    assert [ingest(lake, source, dry_run=dry_run).written for dry_run in (True, False)] == [2, 2]
    assert [ingest(lake, source, dry_run=dry_run).exit_code for dry_run in (True, False)] == [99, 99]
    write_csv(source, "text,label")
    for dry_run in (True, False):
        with pytest.raises(DataError, match="no reviews to read"):
            ingest(tmp_path / "other", source, dry_run=dry_run)
    with pytest.raises(DataError, match="not in the given sources"):
        ingest(lake, source, rebuild_vocab=True, dry_run=True)


def test_the_record_of_a_failed_run_counts_nothing_as_written(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", "text,label", "fine,pos", "a,b,c")
    with pytest.raises(DataError):
        ingest(tmp_path / "lake", source, max_bad_rows=0)
    (record,) = (tmp_path / "lake" / "runs").iterdir()
    receipt = json.loads(record.read_text())["receipt"]
    assert (receipt["read"], receipt["written"], receipt["rejected"]) == (2, 0, 1)


class FullDisk:
    """A writer whose disk is full when it is closed."""

    def close(self) -> None:
        raise OSError("Error writing bytes to file. Detail: [errno 28] No space left on device")


def test_a_disk_that_is_full_when_a_file_is_closed(tmp_path: Path) -> None:
    for writer in (SpillWriter(tmp_path / "spill"), RejectWriter(tmp_path / "rejects")):
        with pytest.raises(CannotWriteError, match="No space left"), writer:
            writer.writer = FullDisk()
        with pytest.raises(DataError, match="the first error"), writer:
            raise DataError("the first error")
    with pytest.raises(CannotWriteError, match="No space left"):
        writer.publish(tmp_path)


def test_a_disk_that_is_full_at_the_commit(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise DeltaError("LocalFileSystem: Unable to copy data to file:\nNo space left on device (os error 28)")

    monkeypatch.setattr("pipeline.lake.table.stage_commit", full)
    with pytest.raises(CannotWriteError, match=r"tokens: No space left"):
        ingest(tmp_path / "lake", corpus)


def test_an_old_version_after_the_changed_one_is_a_duplicate(tmp_path: Path) -> None:
    old = write_csv(tmp_path / "b.csv", "id,text,label", "1,fine,pos", "2,dull,neg")
    ingest(tmp_path / "lake", old, id_column="id")
    new = write_csv(tmp_path / "a.csv", "id,text,label", "1,dull,neg")
    for written, known in ((1, 1), (0, 2)):
        receipt = ingest(tmp_path / "lake", new, old, id_column="id")
        assert (receipt.written, receipt.known, rejects_of(receipt)) == (written, known, [(0, "duplicate_id")])
    assert {row["review_id"]: row["label"] for row in rows_of(tmp_path / "lake")} == {"1": 0, "2": 0}


def test_reviews_that_lose_their_labels_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = write_csv(tmp_path / "r.csv", "id,text,label", "1,fine,pos", "2,dull,neg", "3,so so,")
    ingest(tmp_path / "lake", source, id_column="id")
    unlabelled = write_csv(tmp_path / "u.csv", "id,text", "3,so", "4,new")
    ingest(tmp_path / "lake", unlabelled, id_column="id")
    assert "lose their labels" not in caplog.text
    write_csv(source, "id,text", "1,fine", "2,dull", "3,not so")
    ingest(tmp_path / "lake", source, id_column="id")
    assert (
        "2 of 3 replaced reviews lose their labels, because their files have none now. To take that back, use" in caplog.text
    )
    retract(RetractConfig(lake=tmp_path / "lake", run="latest"))
    assert [row["label"] for row in sorted(rows_of(tmp_path / "lake"), key=lambda row: row["review_id"])] == [
        1,
        0,
        None,
        None,
    ]
    with pytest.raises(DataError, match="no column 'label'"):
        ingest(tmp_path / "lake", source, id_column="id", label_column="label")


@pytest.mark.parametrize("between", [0, 2 * BATCH_ROWS])
@pytest.mark.parametrize("dedupe", [False, True])
def test_a_correction_above_the_old_row_of_the_same_file_counts(tmp_path: Path, between: int, dedupe: bool) -> None:
    others = [f"a{number},text {number},neg" for number in range(between)]
    source, options = tmp_path / "r.csv", {"id_column": "id", "dedupe": dedupe}
    ingest(tmp_path / "lake", write_csv(source, "id,text,label", "1,fine,pos", "2,dull,neg", *others), **options)
    write_csv(source, "id,text,label", "1,not so fine,neg", "2,dull,neg", *others, "1,fine,pos")
    receipts = [ingest(tmp_path / "lake", source, **options) for _ in range(2)]
    assert [(receipt.written, receipt.known) for receipt in receipts] == [(1, between + 1), (0, between + 2)]
    assert [rejects_of(receipt) for receipt in receipts] == [[(between + 2, "duplicate_id")]] * 2
    ingest(tmp_path / "new", source, **options)
    assert texts_of(tmp_path / "new")["1"] == "not so fine"
    corrected, fresh = (
        {row["review_id"]: row["content_sha256"] for row in rows_of(tmp_path / name)} for name in ("lake", "new")
    )
    assert corrected == fresh


@pytest.mark.parametrize("name", ["r.csv", "r.jsonl"])
def test_prune_spares_a_file_of_no_bytes(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """Whoever writes it may have died before the first byte."""
    source, lake, options = tmp_path / name, tmp_path / "lake", {"prune": True}
    text = "text,label\nfine,pos\ndull,neg\n"
    if name == "r.jsonl":
        text = '{"text": "fine", "label": "pos"}\n{"text": "dull", "label": "neg"}\n'
    source.write_text(text)
    ingest(lake, source, **options)
    source.write_text("")
    receipt = ingest(lake, source, **options)
    assert (receipt.exit_code, receipt.metrics["pruned"], len(rows_of(lake))) == (99, 0, 2)
    assert f"not pruned because of empty files (0 bytes): file://{source}. A CSV file" in caplog.text
    if name == "r.csv":  # the remedy
        source.write_text("text,label\n")
        assert ingest(lake, source, **options).metrics["pruned"] == 2
        assert not rows_of(lake)


@pytest.mark.parametrize("broken", ["2,dull,neg,more", "2,dull,unheard", "2,du\0ll,neg"])
def test_prune_spares_a_file_with_rejected_rows_until_they_are_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    source = tmp_path / "r.csv"
    options: dict[str, Any] = {"id_column": "id", "prune": True}
    ingest(tmp_path / "lake", write_csv(source, "id,text,label", "1,fine,pos", "2,dull,neg", "3,so,pos"), **options)
    write_csv(source, "id,text,label", "1,fine,pos", broken)
    night = ingest(tmp_path / "lake", source, **options)
    assert (night.rejected, night.metrics["missing"], night.metrics["pruned"]) == (1, 0, 0)
    assert {row["review_id"] for row in rows_of(tmp_path / "lake")} == {"1", "2", "3"}
    assert "not pruned because some rows were rejected: " in caplog.text
    mended = ingest(tmp_path / "lake", write_csv(source, "id,text,label", "1,fine,pos", "2,dull,neg"), **options)
    assert (mended.known, mended.metrics["pruned"]) == (2, 1)


def test_rows_that_the_label_map_leaves_out_do_not_keep_a_file_from_being_pruned(tmp_path: Path) -> None:
    options: dict[str, Any] = {"id_column": "id", "prune": True, "label_map": LabelMap.parse("neg=1 pos=5")}
    source = write_csv(tmp_path / "r.csv", "id,text,label", "1,fine,5", "2,dull,1")
    ingest(tmp_path / "lake", source, **options)
    write_csv(source, "id,text,label", "1,fine,5", "4,so,3")
    assert ingest(tmp_path / "lake", source, **options).metrics["pruned"] == 1
