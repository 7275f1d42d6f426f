"""Which reviews of a scored file a report shows, and the two files that a bundle may hold for it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.reports.examples import choose_from_predictions, shown_examples
from pipeline.reports.files import LengthCounter, read_examples, read_lengths, write_examples, write_lengths
from schemas.contract import ContractError
from schemas.prediction import KEY_MODEL
from tests.reports.report_bundles import example_table

LABELS = ("neg", "pos")


def scored(path: Path, rows: int = 100, row_group_size: int = 7, version: int = 2) -> Path:
    """Review n has the probability (n + 0.1) / 100 of being positive; every tenth has no text and no prediction."""
    chances = [(n + 0.1) / 100 if n >= 50 or version == 1 else 1 - (n + 0.1) / 100 for n in range(rows)]
    table = pa.table(
        {
            "id": pa.array(range(rows)),
            "body": [None if n % 10 == 5 else f"review {n}" for n in range(rows)],
            "truth": ["pos" if n % 3 else "neg" for n in range(rows)],
            "prediction": pa.array([None if n % 10 == 5 else LABELS[n >= 50] for n in range(rows)], pa.string()),
            "probability": pa.array([None if n % 10 == 5 else chances[n] for n in range(rows)], pa.float32()),
            "model_id": ["m"] * rows,
        }
    )
    if version > 1:
        reasons = ["no_text" if n % 10 == 5 else None for n in range(rows)]
        table = table.append_column("unscored_reason", pa.array(reasons, pa.string()))
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("row_group_size", [1, 7, 1000])
def test_most_certain_of_each_label_then_the_undecided(tmp_path: Path, row_group_size: int, version: int) -> None:
    path = scored(tmp_path / "p.parquet", row_group_size=row_group_size, version=version)
    chosen = choose_from_predictions(path, "m", LABELS, "body", "truth").to_pylist()
    assert [row["text"] for row in chosen] == [f"review {n}" for n in (0, 1, 2, 3, 99, 98, 97, 96, 50, 49, 51, 48)]
    assert chosen[0]["label"] == "neg" and chosen[1]["label"] == "pos"
    assert [row["probability"] for row in chosen[:5]] == pytest.approx([0.001, 0.011, 0.021, 0.031, 0.991], abs=1e-6)


def test_without_a_label_column_nobody_is_wrong(tmp_path: Path) -> None:
    shown = shown_examples(choose_from_predictions(scored(tmp_path / "p.parquet"), "m", LABELS, "body", None), LABELS)
    assert {example.right for example in shown} == {None}


def test_few_rows_are_shown_once_each(tmp_path: Path) -> None:
    chosen = choose_from_predictions(scored(tmp_path / "p.parquet", rows=3), "m", LABELS, "body", None)
    assert sorted(chosen["text"].to_pylist()) == ["review 0", "review 1", "review 2"]


def test_predictions_that_cannot_be_read(tmp_path: Path) -> None:
    path = scored(tmp_path / "p.parquet")
    with pytest.raises(UsageError, match=r"--text-column text: .* Its columns: id, body"):
        choose_from_predictions(path, "m", LABELS, "text", None)
    with pytest.raises(UsageError, match="--label-column stars"):
        choose_from_predictions(path, "m", LABELS, "body", "stars")
    with pytest.raises(UsageError, match="it is int64, not strings"):
        choose_from_predictions(path, "m", LABELS, "id", None)
    with pytest.raises(InputNotFoundError, match="no such file"):
        choose_from_predictions(tmp_path / "absent.parquet", "m", LABELS, "body", None)
    pq.write_table(pa.table({"text": ["raw"]}), path)
    with pytest.raises(ContractError, match="prediction"):
        choose_from_predictions(path, "m", LABELS, "text", None)
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="no whole Parquet file"):
        choose_from_predictions(path, "m", LABELS, "text", None)


def test_predictions_of_another_model_are_refused(tmp_path: Path) -> None:
    path = scored(tmp_path / "p.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({KEY_MODEL: b"m"}), path)
    assert len(choose_from_predictions(path, "m", LABELS, "body", None))
    with pytest.raises(UsageError, match="of the model m, the report is of other"):
        choose_from_predictions(path, "other", LABELS, "body", None)


def test_lengths_are_counted_batch_by_batch_and_come_back(tmp_path: Path) -> None:
    counter = LengthCounter()
    lists = pa.list_(pa.int32())
    counter.add("train", pa.array([[1, 2], [3], None, []], lists))
    counter.add("train", pa.array([[9], [1, 2, 3]], lists))
    counter.add("test", pa.chunked_array([pa.array([[4, 4]], lists)]))
    write_lengths(tmp_path, counter.table())
    table = read_lengths(tmp_path)
    assert table is not None
    rows = [tuple(row.values()) for row in table.to_pylist()]
    assert rows == [("test", 2, 1), ("train", 0, 1), ("train", 1, 2), ("train", 2, 1), ("train", 3, 1)]


def test_examples_come_back_and_other_columns_are_refused(tmp_path: Path) -> None:
    table = example_table([("good", "pos", "pos", 0.5), ("bad", None, "neg", 0.25)])
    write_examples(tmp_path, table)
    read = read_examples(tmp_path)
    assert read is not None and read.to_pylist() == table.to_pylist()
    with pytest.raises(ContractError, match="lacks the column 'text'"):
        write_examples(tmp_path, table.drop_columns(["text"]))


def test_absent_files_are_no_error(tmp_path: Path) -> None:
    assert read_lengths(tmp_path) is None and read_examples(tmp_path) is None
