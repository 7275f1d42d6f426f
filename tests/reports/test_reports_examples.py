"""Which reviews of a scored file a report shows, and the two files that a bundle may hold for it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.reports.examples import ScoredColumns, choose_from_predictions, shown_examples, without_markup
from pipeline.reports.files import LengthCounter, read_examples, read_lengths, write_examples, write_lengths
from schemas.contract import KEY_NAME, KEY_VERSION, ContractError
from schemas.prediction import KEY_MODEL
from schemas.report import EXAMPLE
from tests.support.report_bundles import example_table

LABELS = ("neg", "pos")


def scored(path: Path, rows: int = 100, row_group_size: int = 7) -> Path:
    """Review n has the probability (n + 0.1) / 100 of being positive; every tenth has no text and no prediction."""
    table = pa.table(
        {
            "id": pa.array(range(rows)),
            "body": [None if n % 10 == 5 else f"review {n}" for n in range(rows)],
            "truth": ["pos" if n % 3 else "neg" for n in range(rows)],
            "prediction": pa.array([None if n % 10 == 5 else LABELS[n >= 50] for n in range(rows)], pa.string()),
            "probability": pa.array([None if n % 10 == 5 else (n + 0.1) / 100 for n in range(rows)], pa.float32()),
            "model_id": ["m"] * rows,
        }
    )
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


@pytest.mark.parametrize("row_group_size", [1, 7, 1000])
def test_most_certain_of_each_label_then_the_undecided(tmp_path: Path, row_group_size: int) -> None:
    path = scored(tmp_path / "p.parquet", row_group_size=row_group_size)
    chosen = choose_from_predictions(path, "m", LABELS, ScoredColumns(text=("body",))).to_pylist()
    assert [row["text"] for row in chosen] == [f"review {n}" for n in (0, 1, 2, 3, 99, 98, 97, 96, 50, 49, 51, 48)]
    assert chosen[0]["probability"] == pytest.approx(0.999), "of the prediction, whatever the version of the contract"


@pytest.mark.parametrize("row_group_size", [1, 7, 1000])
def test_with_labels_the_surest_mistakes_come_first(tmp_path: Path, row_group_size: int) -> None:
    path = scored(tmp_path / "p.parquet", row_group_size=row_group_size)
    shown = shown_examples(choose_from_predictions(path, "m", LABELS, ScoredColumns(text=("body",), label="truth")))
    assert [(one.text, one.kind) for one in shown[:4]] == [(f"review {n}", "wrong") for n in (99, 1, 2, 96)]
    assert all(one.right is False for one in shown[:4])
    assert [one.text for one in shown[4:]] == [f"review {n}" for n in (0, 3, 98, 97, 50, 49, 51, 48)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It drags.<br /><br />Then it ends.", "It drags. Then it ends."),
        ("a <i>very</i> <b class='x'>dull</b> film", "a very dull film"),
        ("salt &amp; pepper &lt;3", "salt & pepper <3"),
        ("I <3 this, 5 < 6 > 2", "I <3 this, 5 < 6 > 2"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_markup_is_shown_as_text(text: str, expected: str) -> None:
    assert without_markup(text) == expected


def test_tokens_that_weigh_are_shown_once_each_the_heaviest_first() -> None:
    parts = [("fine", 0.2), ("dull", -0.8), ("fine", 0.2), ("so", 0.0)]
    explanation = [{"token": token, "position": n, "weight": weight} for n, (token, weight) in enumerate(parts)]
    table = pa.Table.from_pylist(
        [{"text": "fine dull fine so", "prediction": "pos", "probability": 0.6, "explanation": explanation}], EXAMPLE.schema
    )
    (shown,) = shown_examples(table)
    assert [(weight.token, weight.share) for weight in shown.weights[:2]] == [
        ("dull", -1.0),
        ("fine", pytest.approx(0.5)),
    ]


def test_without_a_label_column_nobody_is_wrong(tmp_path: Path) -> None:
    shown = shown_examples(
        choose_from_predictions(scored(tmp_path / "p.parquet"), "m", LABELS, ScoredColumns(text=("body",)))
    )
    assert {example.right for example in shown} == {None}


def test_few_rows_are_shown_once_each(tmp_path: Path) -> None:
    chosen = choose_from_predictions(scored(tmp_path / "p.parquet", rows=3), "m", LABELS, ScoredColumns(text=("body",)))
    assert sorted(chosen["text"].to_pylist()) == ["review 0", "review 1", "review 2"]


def test_predictions_that_cannot_be_read(tmp_path: Path) -> None:
    path = scored(tmp_path / "p.parquet")
    with pytest.raises(UsageError, match=r"--text-column text: .* Its columns: id, body"):
        choose_from_predictions(path, "m", LABELS, ScoredColumns(text=("text",)))
    with pytest.raises(UsageError, match="--label-column stars"):
        choose_from_predictions(path, "m", LABELS, ScoredColumns(text=("body",), label="stars"))
    with pytest.raises(UsageError, match="it is int64, not strings"):
        choose_from_predictions(path, "m", LABELS, ScoredColumns(text=("id",)))
    with pytest.raises(InputNotFoundError, match="no such file"):
        choose_from_predictions(tmp_path / "absent.parquet", "m", LABELS, ScoredColumns(text=("body",)))
    pq.write_table(pa.table({"text": ["raw"]}), path)
    with pytest.raises(ContractError, match="prediction"):
        choose_from_predictions(path, "m", LABELS, ScoredColumns(text=("text",)))
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not a complete Parquet file"):
        choose_from_predictions(path, "m", LABELS, ScoredColumns(text=("text",)))


def test_predictions_of_another_model_are_refused(tmp_path: Path) -> None:
    path = scored(tmp_path / "p.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({KEY_MODEL: b"m"}), path)
    assert len(choose_from_predictions(path, "m", LABELS, ScoredColumns(text=("body",))))
    with pytest.raises(UsageError, match="by the model m, but the report is for other"):
        choose_from_predictions(path, "other", LABELS, ScoredColumns(text=("body",)))


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
    read = read_examples(tmp_path, LABELS)
    assert read is not None and read.to_pylist() == table.to_pylist()
    with pytest.raises(ContractError, match="lacks the column 'text'"):
        write_examples(tmp_path, table.drop_columns(["text"]))


def test_absent_files_are_no_error(tmp_path: Path) -> None:
    assert read_lengths(tmp_path) is None and read_examples(tmp_path, LABELS) is None


def test_examples_of_earlier_releases_are_upgraded(tmp_path: Path) -> None:
    """Version 1 held the probability of the second label."""
    old = {KEY_NAME: b"example", KEY_VERSION: b"1"}
    table = example_table([("bad", "neg", "neg", 0.25), ("good", None, "pos", 0.75)]).select(range(4))
    pq.write_table(table.replace_schema_metadata(old), tmp_path / "examples.parquet")
    read = read_examples(tmp_path, LABELS)
    assert read is not None and read["probability"].to_pylist() == [0.75, 0.75]
    assert read["kind"].null_count == read["explanation"].null_count == 2
    three = read_examples(tmp_path, ("bad", "fair", "good"))
    assert three is not None and three["probability"].to_pylist() == [0.25, 0.75]
