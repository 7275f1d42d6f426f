"""Labels that `--skip-labels` leaves out: counted with a reason of their own, and no fault of the delivery."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.lake.reject_writer import FILES, RejectCounts
from pipeline.readers.labels import LabelMap, SkippedLabels
from schemas.reject import BadRow
from tests.support.commands import Run
from tests.support.ingested import ingest, rejects_of, rows_of
from tests.support.tables import write_csv, write_table

STARS = ("stars,text", *(f"{1 + number % 5},film {number}" for number in range(20)))
MAPPED: dict[str, Any] = {"label_column": "stars", "label_map": LabelMap.parse("neg=1,2 pos=4,5")}
SKIPPED: dict[str, Any] = {**MAPPED, "skip_labels": SkippedLabels.parse("3")}


def test_rows_left_out_are_counted_and_no_fault(tmp_path: Path) -> None:
    (tmp_path / "lake" / "raw").mkdir(parents=True)
    source = write_csv(tmp_path / "lake" / "raw" / "r.csv", *STARS, "n/a,odd film")
    receipt = ingest(tmp_path / "lake", source, strict=True, **SKIPPED)
    assert (receipt.read, receipt.written, receipt.rejected, receipt.known) == (21, 16, 5, 0)
    assert receipt.metrics["rejects"] == {"skipped_label": 4, "unmapped": 1}
    assert rejects_of(receipt) == [*((row, "skipped_label") for row in (2, 7, 12, 17)), (20, "unmapped")]
    assert receipt.metrics["rejects_files"] == {"total": 1, "listed": [{"file": "raw/r.csv", "rows": 1}]}


def test_any_format_and_spelling_of_a_number(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", "text,stars", "fine,5.0", "so,3.0", "so so,3")
    write_table(tmp_path / "b.parquet", text=["dull", "between"], stars=[1.0, 3.0])
    receipt = ingest(tmp_path / "lake", tmp_path / "a.csv", tmp_path / "b.parquet", **SKIPPED)
    assert (receipt.written, receipt.metrics["rejects"]) == (2, {"skipped_label": 3})


def test_labels_without_a_map_can_be_left_out(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", "text,label", "fine,pos", "dull,neg", "odd,n/a", "so,")
    receipt = ingest(tmp_path / "lake", source, skip_labels=SkippedLabels.parse(["n/a"]))
    assert (receipt.metrics["labels"], receipt.metrics["rejects"]) == (["neg", "pos"], {"skipped_label": 1})
    assert [row["label"] for row in rows_of(tmp_path / "lake")].count(None) == 1, "a review without a label is unlabelled"


def test_a_delivery_of_nothing_else_is_nothing_new(tmp_path: Path) -> None:
    middle = write_csv(tmp_path / "b.csv", "stars,text", "3,so so", "3,in between")
    with pytest.raises(DataError, match=r"2 of 2 rows were rejected, so none are left; .*row 0: skipped_label"):
        ingest(tmp_path / "lake", middle, **SKIPPED)
    ingest(tmp_path / "lake", write_csv(tmp_path / "a.csv", *STARS), **SKIPPED)
    receipt = ingest(tmp_path / "lake", middle, **SKIPPED)
    assert (receipt.exit_code, receipt.read, receipt.rejected) == (99, 2, 2)
    odd = write_csv(tmp_path / "c.csv", "stars,text", "3,so so", "n/a,odd")
    with pytest.raises(DataError, match=r"2 of 2 rows were rejected, .*row 1: unmapped"):
        ingest(tmp_path / "lake", odd, **SKIPPED)


def test_rows_left_out_do_not_keep_a_file_from_being_pruned(tmp_path: Path) -> None:
    options = {**SKIPPED, "id_column": "id", "prune": True}
    source = write_csv(tmp_path / "r.csv", "id,stars,text", "1,5,fine", "2,1,dull")
    ingest(tmp_path / "lake", source, **options)
    write_csv(source, "id,stars,text", "1,5,fine", "2,3,dull")
    assert ingest(tmp_path / "lake", source, **options).metrics["pruned"] == 1, "a changed label may be left out, too"


@pytest.mark.parametrize(
    ("skipped", "label_map", "problem"),
    [
        ("3", "neg=1..3 pos=4,5", "'3' is mapped to 'neg'"),
        ("2..3.5", "neg=1,2 pos=4,5", "2 is mapped to 'neg'"),
        ("3..", "neg=1,2 pos=4..5", "4 is mapped to 'pos'"),
        ("n/a,Good", "neg=bad pos=Good", "'Good' is mapped to 'pos'"),
    ],
)
@pytest.mark.parametrize("name", ["ingest", "evaluate", "inspect", "init"])
def test_a_label_is_either_mapped_or_left_out(
    tmp_path: Path, command: Run, name: str, skipped: str, label_map: str, problem: str
) -> None:
    source = write_csv(tmp_path / "r.csv", *STARS)
    given = ("--label-column", "stars", "--label-map", label_map)
    done = command("--lake", tmp_path / "lake", name, source, *given, "--skip-labels", skipped)
    assert done.code == 2
    assert f"--skip-labels {skipped}: {problem} by --label-map '" in done.stderr
    assert "Remove it from one of them" in done.stderr


def test_a_map_given_for_once_meets_the_labels_left_out_in_pipeline_toml(tmp_path: Path, command: Run) -> None:
    source = write_csv(tmp_path / "r.csv", *STARS)
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "pipeline.toml").write_text(
        '[ingest]\nlabel-column = "stars"\nlabel-map = "neg=1,2 pos=4,5"\nskip-labels = 3\n'
    )
    asked = ("--lake", tmp_path / "lake", "ingest", source, "--label-map", "neg=1..3 pos=4,5")
    refused = command(*asked)
    assert refused.code == 2 and "--skip-labels '' leaves nothing out" in refused.stderr
    assert command(*asked, "--skip-labels", "").receipt["written"] == 20


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("true", "True is neither a value nor a list of values"),
        ("{a = 3}", "is neither a value nor a list of values"),
        ("[[3]]", "[3] is not a single value"),
        ("'5..3'", "the range '5..3' is empty"),
        ("'a..b'", "'a..b' is not a range of numbers"),
    ],
)
def test_what_pipeline_toml_cannot_mean(tmp_path: Path, command: Run, value: str, problem: str) -> None:
    (tmp_path / "lake" / "raw").mkdir(parents=True)
    (tmp_path / "lake" / "pipeline.toml").write_text(f"[ingest]\nskip-labels = {value}\n")
    done = command("--lake", tmp_path / "lake", "ingest")
    assert done.code == 2 and "skip-labels" in done.stderr and problem in done.stderr


@given(st.lists(st.sampled_from(["3", "n/a", "2.5..3.5", "7..", "..0"]), unique=True))
def test_a_list_reads_back_as_it_is_written(items: list[str]) -> None:
    skipped = SkippedLabels.parse(",".join(items))
    assert SkippedLabels.parse(str(skipped)) == skipped
    for value in ("3", "3.0", "n/a", "2.75", "8", "-1", "4"):
        assert (value in skipped) == any(value in SkippedLabels.parse(item) for item in items)


def counted(*bad: BadRow) -> RejectCounts:
    counts = RejectCounts()
    counts.count(bad)
    return counts


def bad(source: str, row: int, reason: str = "unmapped") -> BadRow:
    return BadRow(source=source, row=row, reason=reason, detail="…")


def test_the_digest_of_rejects_is_that_of_the_reported_ones() -> None:
    one, other = bad("a.csv", 1), bad("b.csv", 2)
    left_out = [bad("a.csv", row, "skipped_label") for row in range(3)]
    digest = counted(one, other).metrics["rejects_digest"]
    assert counted(*left_out, one, other).metrics["rejects_digest"] == digest
    assert counted(one).metrics["rejects_digest"] != digest != counted(one, bad("b.csv", 3)).metrics["rejects_digest"]
    assert counted(*left_out).metrics["rejects_digest"] is None


def test_of_many_files_with_rejects_the_last_are_named_and_all_counted() -> None:
    rows = [bad(f"{number:04}.csv", row) for number in range(FILES + 20) for row in range(2)]
    files = counted(*rows).metrics["rejects_files"]
    assert files["total"] == FILES + 20 and len(files["listed"]) == FILES
    assert files["listed"][-1] == {"file": f"{FILES + 19:04}.csv", "rows": 2}
    parts = counted(*rows[:8])
    parts.absorb(counted(*rows[8:]))
    assert parts.metrics["rejects_files"] == files
