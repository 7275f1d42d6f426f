"""Files of one review per line: fastText's labels, and files of lines that were taken for one review."""

import bz2
import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from tests.support.commands import run_here
from tests.support.ingested import ingest, rows_of

FASTTEXT = b"__label__pos a good film\r\n\n  __label__neg  dull , and long\nno label here\n__label__pos __label__neg both\n"


@pytest.mark.parametrize("suffix", ["ft", "txt", "txt.bz2"])
def test_lines_of_fasttext_have_their_label_before_the_text(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"train.{suffix}"
    path.write_bytes(bz2.compress(FASTTEXT) if suffix.endswith("bz2") else FASTTEXT)
    receipt = ingest(tmp_path / "lake", path, format="fasttext")
    assert (receipt.read, receipt.written, receipt.rejected) == (5, 3, 2)
    rows = {row["row"]: (row["label"], row["split"]) for row in rows_of(tmp_path / "lake")}
    assert rows == {0: (1, "train"), 2: (0, "train"), 3: (None, "unsup")}
    rejects = pq.read_table(receipt.outputs["rejects"]).to_pylist()
    faults = {row["row"]: (row["reason"], row["detail"]) for row in rejects}
    assert faults[4] == ("malformed_row", "2 labels; a review has one") and faults[1][0] == "empty_text"


def test_a_column_that_fasttext_has_not_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(FASTTEXT)
    with pytest.raises(DataError, match="no column 'stars'"):
        ingest(tmp_path / "lake", path, format="fasttext", label_column="stars")


@pytest.mark.parametrize(
    ("line", "format"), [("a good film {}", "lines"), ("__label__pos a good film {}", "fasttext"), ("a, good | {}", "lines")]
)
def test_a_text_of_many_lines_is_warned_of_and_the_remedy_reads_its_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str, format: str
) -> None:
    path = tmp_path / "reviews.txt"
    path.write_text("".join(line.format(number) + "\n" for number in range(30)))
    with caplog.at_level(logging.WARNING):
        assert ingest(tmp_path / "one", path).written == 1
    [warning] = [message for message in caplog.messages if "counts as one review" in message]
    assert "reviews.txt has many lines" in warning and f"--format {format};" in warning
    lake = str(tmp_path / "many")
    assert run_here("--lake", lake, "ingest", str(path), "--format", format).receipt["written"] == 30


def test_folders_of_reviews_are_not_looked_at_for_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(9):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}_0.txt").write_text(f"line of review {number}\n" * 30)
    assert ingest(tmp_path / "lake", tmp_path / "in").written == 9
    assert not any("counts as one review" in message for message in caplog.messages)
