"""Ingest and the content of cells: bytes, dictionaries, nanoseconds, invalid UTF-8, nothing."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from tests.support.ingested import ingest, rejects_of, rows_of

COLUMNS = {"id_column": "id", "group_column": "film", "split_column": "part"}


def test_rows_of_a_csv_whose_id_or_label_is_not_utf8_are_rejected(tmp_path: Path) -> None:
    rows = [b"a\xe9,good,pos,f,train", b"a\xe8,bad,neg,f,train", b"b,fine,p\xff,f,train", b"c,so,pos,\xff,train"]
    (tmp_path / "r.csv").write_bytes(
        b"\n".join([b"id,text,label,film,part", *rows, b"d,dull,neg,f,\xff", b"e,fair,pos,f,train"])
    )
    receipt = ingest(tmp_path / "lake", tmp_path / "r.csv", **COLUMNS, encoding="utf-8")
    assert rejects_of(receipt) == [(row, "invalid_utf8") for row in range(5)]
    assert (receipt.read, receipt.written, receipt.metrics["labels"]) == (6, 1, ["pos"])


def test_rows_of_json_lines_with_lone_surrogates_are_rejected(tmp_path: Path) -> None:
    good = '{"id": "a", "text": "good", "label": "pos"}'
    faults = [good.replace(f'"{word}"', r'"\ud800"') for word in ("a", "pos", "good")]
    missing = [r'{"id": "b", "\ud800": "good"}', r'{"id": "b", "text": "good", "label": "pos", "film": "\udfff"}']
    (tmp_path / "r.jsonl").write_text("\n".join([*faults, *missing, good]))
    receipt = ingest(tmp_path / "lake", tmp_path / "r.jsonl", id_column="id", group_column="film")
    reasons = ["invalid_utf8", "invalid_utf8", "invalid_utf8", "malformed_row", "invalid_utf8"]
    assert sorted(rejects_of(receipt)) == list(enumerate(reasons))
    assert receipt.written == 1


@pytest.mark.parametrize(
    "kind",
    [pa.binary_view(), pa.string_view(), pa.binary(3), pa.large_binary(), pa.dictionary(pa.int32(), pa.binary())],
    ids=str,
)
def test_labels_of_parquet_may_be_bytes_of_any_type(tmp_path: Path, kind: pa.DataType) -> None:
    plain = pa.array([b"pos", b"neg", None], pa.binary())
    labels = plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain.cast(kind)
    pq.write_table(pa.table({"text": ["good", "bad", "so"], "label": labels}), tmp_path / "r.parquet")
    assert ingest(tmp_path / "lake", tmp_path / "r.parquet").metrics["labels"] == ["neg", "pos"]
    assert [row["label"] for row in rows_of(tmp_path / "lake")] == [1, 0, None]


def test_strings_of_parquet_that_are_not_utf8_are_rejected(tmp_path: Path) -> None:
    bad = pa.StringArray.from_buffers(2, pa.py_buffer(pa.array([0, 1, 2], pa.int32()).buffers()[1]), pa.py_buffer(b"a\xff"))
    pq.write_table(pa.table({"text": ["good", "bad"], "id": bad}), tmp_path / "r.parquet")
    receipt = ingest(tmp_path / "lake", tmp_path / "r.parquet", id_column="id")
    assert (receipt.written, rejects_of(receipt)) == (1, [(1, "invalid_utf8")])


def test_ids_may_be_nanoseconds(tmp_path: Path) -> None:
    ids = pa.array([1_000_000_001, 1_000_000_002], pa.timestamp("ns"))
    pq.write_table(pa.table({"text": ["good", "bad"], "id": ids}), tmp_path / "r.parquet")
    ingest(tmp_path / "lake", tmp_path / "r.parquet", id_column="id")
    found = [row["review_id"] for row in rows_of(tmp_path / "lake")]
    assert found == ["1970-01-01 00:00:01.000000001", "1970-01-01 00:00:01.000000002"]


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"]), tmp_path / "r.parquet")
    with pytest.raises(DataError, match=r"the column 'text' appears twice"):
        ingest(tmp_path / "lake", tmp_path / "r.parquet")


def test_empty_cells_tell_nothing_in_quotes_too(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('text,label,film,part\ngood,"","",""\nbad,neg,f,test\n')
    (tmp_path / "r.jsonl").write_text('{"text": "so so", "label": NaN, "film": NaN}\n')
    options = {"group_column": "film", "split_column": "part"}
    receipt = ingest(tmp_path / "lake", tmp_path / "r.csv", tmp_path / "r.jsonl", **options)
    assert (receipt.written, receipt.metrics["labels"]) == (3, ["neg"])
    found = [(row["label"], row["group"], row["split"]) for row in rows_of(tmp_path / "lake")]
    assert sorted(found, key=str) == [(0, "f", "test"), (None, None, "unsup"), (None, None, "unsup")]
