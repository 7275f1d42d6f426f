"""What `pipeline score` reads and writes: every format gives the same predictions, and columns keep their values."""

import bz2
import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError, InputNotFoundError
from tests.support.scoring import ADDED, make_words, run_score, scored
from tests.support.tables import Write

TEXTS = make_words(30)
ROWS = [{"id": f"{n:03}", "text": text} for n, text in enumerate(TEXTS)]


def csv_text(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def compressed_zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def zipped(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


CONTENTS: dict[str, Callable[[], bytes]] = {
    "a.csv": lambda: csv_text(ROWS).encode(),
    "a.tsv": lambda: csv_text(ROWS, "\t").encode(),
    "a.csv.gz": lambda: gzip.compress(csv_text(ROWS).encode()),
    "a.jsonl": lambda: json_lines(ROWS),
    "a.ndjson.zst": lambda: compressed_zstd(json_lines(ROWS)),
    "a.json": lambda: json.dumps(ROWS, indent=1).encode(),
    "a.zip": lambda: zipped("export/rows.csv", csv_text(ROWS).encode()),
    "a.json.bz2": lambda: bz2.compress(json_lines(ROWS)),
}


@pytest.mark.parametrize("name", [*CONTENTS, "a.feather", "A.PARQUET"])
def test_every_format_gives_the_same_rows(lake: Path, write: Write, tmp_path: Path, name: str) -> None:
    expected = scored(lake, write("plain.parquet", id=[row["id"] for row in ROWS], text=TEXTS))
    path = tmp_path / name
    if name in CONTENTS:
        path.write_bytes(CONTENTS[name]())
    elif name == "a.feather":
        feather.write_feather(pa.Table.from_pylist(ROWS), path)
    else:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    table = scored(lake, path)
    assert (lake / "predictions" / f"{path.name.split('.')[0]}.parquet").exists()
    assert table.column_names == ["id", "text", *ADDED]
    assert table.to_pylist() == expected.to_pylist()


def test_a_folder_of_texts_has_what_its_layout_says(lake: Path, tmp_path: Path) -> None:
    for split, label, number, text in (("train", "pos", 0, "good"), ("test", "neg", 1, "bad film"), ("train", "neg", 2, "")):
        folder = tmp_path / "in" / split / label
        folder.mkdir(parents=True)
        (folder / f"{number}_7.txt").write_text(text)
    (tmp_path / "in" / "loose.txt").write_text("a dull story")
    table = scored(lake, tmp_path / "in", output=tmp_path / "all.parquet").to_pylist()
    found = [(row["source"].rpartition("/in/")[2], row["text"], row["label"], row["split"]) for row in table]
    assert found == [
        ("loose.txt", "a dull story", None, None),
        ("test/neg/1_7.txt", "bad film", "neg", "test"),
        ("train/neg/2_7.txt", "", "neg", "train"),
        ("train/pos/0_7.txt", "good", "pos", "train"),
    ]
    assert [row["unscored_reason"] for row in table] == [None, None, "no_text", None]
    with tarfile.open(tmp_path / "in.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "in", "in")
    packed = scored(lake, tmp_path / "in.tar.gz", force=True).to_pylist()
    assert sorted(row["probability"] or 0 for row in packed) == sorted(row["probability"] or 0 for row in table)
    assert {row["source"].rpartition("!/in/")[2]: row["label"] for row in packed} == {
        name: label for name, _, label, _ in found
    }


def test_a_table_of_text_keeps_its_cells(lake: Path, tmp_path: Path) -> None:
    cells = [
        ["id", "text", "note, with comma"],
        ["007", "good, really", "1.10"],
        ["1e3", 'a "dull" story', " blanks stay "],
        ["", "two\nlines", "null"],
        ["ünï", "", "\u2028"],
    ]
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(cells)
    receipt = run_score(lake, tmp_path / "in.csv", output=tmp_path / "out.csv")
    assert receipt.outputs["predictions"] == str(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.reader(file))
    assert found[0] == [*cells[0], *ADDED]
    assert [row[:3] for row in found[1:]] == cells[1:]
    assert found[4][3:] == ["", "", "", "", "first", "no_text"]


def test_json_keeps_its_numbers_and_objects(lake: Path, tmp_path: Path) -> None:
    lines = [
        '{"text": "good", "price": 1.10, "big": 123456789012345678901, "tags": {"a": [1.50, null]}}',
        '{"n": 1e2, "text": "bad", "price": 2, "none": null}',
        '{"n": -0.0, "text": "caf\\u00e9", "price": "3"}',
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    run_score(lake, tmp_path / "in.jsonl", output=tmp_path / "out.jsonl.gz")
    with gzip.open(tmp_path / "out.jsonl.gz", "rt", encoding="utf-8") as file:
        found = file.read().splitlines()
    for line, text in zip(lines, found, strict=True):
        before, after = (json.loads(one, parse_float=str, parse_int=str) for one in (line, text))
        assert {name: after[name] for name in before} == before
        assert set(after) == {*before, *ADDED}
    run_score(lake, tmp_path / "in.jsonl", output=tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["price"] for row in rows] == ["1.10", "2", "3"]
    assert rows[0]["tags"] == '{"a": [1.50, null]}'


def test_json_has_one_type_a_column_in_parquet(lake: Path, tmp_path: Path) -> None:
    rows = [
        {"text": "good", "n": 1, "x": 1, "flag": True, "mixed": 1, "tags": [1], "big": 2**70},
        {"text": "bad", "x": 0.5, "mixed": "b", "void": None},
    ]
    (tmp_path / "in.jsonl").write_bytes(json_lines(rows))
    table = scored(lake, tmp_path / "in.jsonl", keep=("n", "x", "flag", "mixed", "tags", "big", "void"))
    types = {"n": pa.int64(), "x": pa.float64(), "flag": pa.bool_(), "mixed": pa.string(), "void": pa.null()}
    assert {name: table.schema.field(name).type for name in types} == types
    assert table["mixed"].to_pylist() == ["1", "b"]
    assert (table["tags"][0].as_py(), table["big"][0].as_py()) == ("[1]", str(2**70))


def test_typed_columns_are_written_as_text_without_a_loss(lake: Path, write: Write, tmp_path: Path) -> None:
    columns = {
        "f": pa.array([0.1, 5.0, None]),
        "g": pa.array([0.1, 5.0, float("nan")], pa.float32()),
        "d": pa.array(["1.00", "2.00", None]).cast(pa.decimal128(5, 2)),
        "t": pa.array([0, 1, None], pa.timestamp("us")),
        "l": pa.array([[1], [], None], pa.list_(pa.int8())),
        "b": pa.array([b"good", "ä".encode(), None]),
    }
    path = write(text=["good", "bad", None], **columns)
    run_score(lake, path, output=tmp_path / "o.jsonl")
    run_score(lake, path, output=tmp_path / "o.csv")
    found = [json.loads(line, parse_float=str) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["f"] for row in found] == ["0.1", "5.0", None]
    assert [row["g"] for row in found] == ["0.1", "5.0", None]
    assert [row["d"] for row in found] == ["1.00", "2.00", None]
    assert [row["t"] for row in found] == ["1970-01-01 00:00:00.000000", "1970-01-01 00:00:00.000001", None]
    assert [row["l"] for row in found] == [[1], [], None]
    assert [row["b"] for row in found] == ["good", "ä", None]
    cells = list(csv.DictReader((tmp_path / "o.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["f"] for row in cells] == ["0.1", "5.0", ""]
    assert [row["l"] for row in cells] == ["[1]", "[]", ""]
    with pytest.raises(DataError, match="'b' contains bytes that are not UTF-8"):
        run_score(lake, write("c.parquet", text=["good"], b=[b"\xff"]), output=tmp_path / "bad.csv")
    assert not (tmp_path / "bad.csv").exists()


def test_rows_that_do_not_parse_are_counted_named_and_shift_nothing(
    lake: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["id,text", *(f"{n},good film number {n}" for n in range(100))]
    lines[50] = "49,ragged,secret,words"
    (tmp_path / "in.csv").write_text("\n".join(lines))
    receipt = run_score(lake, tmp_path / "in.csv", output=tmp_path / "out.csv")
    assert (receipt.read, receipt.written, receipt.rejected) == (100, 99, 1)
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == [str(n) for n in range(100) if n != 49]
    assert all(row["text"] == f"good film number {row['id']}" for row in rows)
    assert "1 row rejected: malformed_row" in caplog.text and "in.csv, row 49" in caplog.text
    assert "secret" not in caplog.text
    with pytest.raises(
        DataError, match=r"1 of 100 rows are malformed; --max-bad allows 0; nothing was written.*in.csv, row 49"
    ):
        run_score(lake, tmp_path / "in.csv", output=tmp_path / "strict.csv", strict=True)
    assert not (tmp_path / "strict.csv").exists()


def test_lines_that_are_not_utf8_are_rejected(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "in.log").write_bytes(b"good\n\n" + b"caf\xe9\n" + b"bad\r\n" + b"film\n" * 60)
    receipt = run_score(lake, tmp_path / "in.log", format="lines", output=tmp_path / "out.parquet")
    assert (receipt.read, receipt.written, receipt.rejected) == (64, 63, 1)
    texts = pq.read_table(tmp_path / "out.parquet")["text"].to_pylist()
    assert texts == ["good", "", "bad", *["film"] * 60]


def test_several_columns_are_one_text(lake: Path, write: Write, tmp_path: Path) -> None:
    joined = scored(lake, write("joined.parquet", text=["good\nvery dull", "story", "good", None]))
    path = write("two.parquet", summary=["good", None, "good", None], text=["very dull", "story", "", None])
    found = scored(lake, path, text_column=("summary", "text"))
    assert found["probability"].equals(joined["probability"])
    assert found.column_names[:2] == ["summary", "text"]


def test_a_field_of_an_object_is_the_text(lake: Path, write: Write, tmp_path: Path) -> None:
    plain = scored(lake, write("plain.parquet", text=["good", "bad", None]))
    objects = [{"body": "good", "n": 1}, {"body": "bad", "n": 2}, None]
    (tmp_path / "in.jsonl").write_bytes(json_lines([{"review": one} for one in objects]))
    for path in (write("nested.parquet", review=objects), tmp_path / "in.jsonl"):
        table = scored(lake, path, text_column=("review.body",))
        assert table["probability"].equals(plain["probability"])
        assert table.column_names == ["review", *ADDED]
    with pytest.raises(DataError, match=r"'review.bdy'\. Did you mean 'review.body'\? Fields with text: 'review.body'\."):
        scored(lake, tmp_path / "in.jsonl", text_column=("review.bdy",))


def test_inputs_are_scored_in_the_order_in_which_they_are_given(lake: Path, write: Write, tmp_path: Path) -> None:
    for name in "cab":
        write(f"{name}.parquet", text=[f"good {name}"])
    output = tmp_path / "out.parquet"
    table = scored(lake, tmp_path / "c.parquet", tmp_path / "a.parquet", tmp_path / "c.parquet", output=output)
    assert table["text"].to_pylist() == ["good c", "good a"]
    table = scored(lake, tmp_path / "[abc].parquet", output=output)
    assert table["text"].to_pylist() == ["good a", "good b", "good c"]
    with pytest.raises(InputNotFoundError, match="no file or folder matches"):
        scored(lake, tmp_path / "[xyz].parquet", output=output)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zst", ".csv.bz2", ".jsonl", ".jsonl.gz", ".parquet"])
def test_the_same_again_ends_with_99_whatever_the_format(lake: Path, write: Write, tmp_path: Path, suffix: str) -> None:
    path, output = write(text=TEXTS), tmp_path / f"out{suffix}"
    assert run_score(lake, path, output=output).written == 30
    before = output.read_bytes()
    again = run_score(lake, path, output=output)
    assert (again.exit_code, again.read, again.known, again.written) == (99, 30, 30, 0)
    assert output.read_bytes() == before
    assert run_score(lake, path, output=output, keep=("none",)).written == 30
    write(text=TEXTS[:10])
    assert run_score(lake, path, output=output).written == 10
    if suffix == ".parquet":
        return
    output.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"is not what 'pipeline score' wrote.*--force"):
        run_score(lake, path, output=output)
    assert output.read_bytes() == b"mine"
    assert run_score(lake, path, output=output, force=True).written == 10


def test_predictions_of_version_1_are_written_again(lake: Path, write: Write) -> None:
    path = write(text=TEXTS)
    scored(lake, path)
    output = lake / "predictions" / "reviews.parquet"
    table = pq.read_table(output)
    older = table.drop_columns(["unscored_reason"]).replace_schema_metadata(
        {**table.schema.metadata, b"review_pipeline.schema_version": b"1"}
    )
    pq.write_table(older, output)
    receipt = run_score(lake, path)
    assert (receipt.exit_code, receipt.written) == (0, 30)
    assert pq.read_table(output).equals(table)
