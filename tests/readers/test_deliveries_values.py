"""Values as people deliver them: the same label, id or text, whichever format holds it."""

import decimal
import json
import re
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from tests.support.commands import Run
from tests.support.ingested import ingest, rejects_of, rows_of
from tests.support.tables import write_csv, write_table

ZERO_AND_ONE = {
    "r.csv": "text,label\nfine,1.0\ndull,0.0\n",
    "r.tsv": "text\tlabel\nfine\t 1 \ndull\t-0.0\n",
    "r.jsonl": '{"text": "fine", "label": 1.0}\n{"text": "dull", "label": "0"}\n',
    "r.json": '[{"text": "fine", "label": 1}, {"text": "dull", "label": 0.0}]',
    "r.parquet": pa.array([1.0, 0.0]),
    "r.feather": pa.array([1, 0], pa.int8()),
    "r.arrow": pa.array([decimal.Decimal("1.00"), decimal.Decimal("0.00")]),
    "r.pq": pa.array(["1.00", "0"]).dictionary_encode(),
}


def write(path: Path, content: str | pa.Array) -> Path:
    """A file of text, or a table of two reviews with these labels."""
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
        return path
    return write_table(path, text=["fine", "dull"], label=content)


@pytest.mark.parametrize("name", ZERO_AND_ONE)
def test_integral_labels_are_integers_in_every_format(tmp_path: Path, name: str) -> None:
    receipt = ingest(tmp_path / "lake", write(tmp_path / name, ZERO_AND_ONE[name]))
    assert (receipt.written, receipt.metrics["labels"]) == (2, ["0", "1"])
    assert [row["label"] for row in rows_of(tmp_path / "lake")] == [1, 0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", "text,label\nfine,True\ndull,FALSE\n"),
        ("r.jsonl", '{"text": "fine", "label": true}\n{"text": "dull", "label": "False"}\n'),
        ("r.parquet", pa.array([True, False])),
        ("s.parquet", pa.array(["TRUE", "false "])),
    ],
)
def test_booleans_are_words_in_every_format(tmp_path: Path, name: str, content: str | pa.Array) -> None:
    receipt = ingest(tmp_path / "lake", write(tmp_path / name, content))
    assert receipt.metrics["labels"] == ["false", "true"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", 'text,label\nfine,pos\ndull,""\n'),
        ("s.csv", "text,label\nfine, pos\ndull,  \n"),
        ("r.jsonl", '{"text": "fine", "label": "pos "}\n{"text": "dull", "label": ""}\n'),
        ("r.json", '[{"text": "fine", "label": "pos"}, {"text": "dull", "label": "\\t"}]'),
        ("r.parquet", pa.array(["pos", ""])),
        ("r.feather", pa.array(["\u00a0pos", " "])),
    ],
)
def test_an_empty_or_blank_label_is_none(tmp_path: Path, name: str, content: str | pa.Array) -> None:
    receipt = ingest(tmp_path / "lake", write(tmp_path / name, content))
    assert receipt.metrics["labels"] == ["pos"]
    assert [(row["label"], row["split"]) for row in rows_of(tmp_path / "lake")] == [(0, "train"), (None, "unsup")]


def test_ids_with_a_point_zero_are_those_without(tmp_path: Path) -> None:
    """pandas writes integers of a column with a gap so."""
    first = write_table(tmp_path / "r.parquet", text=["fine", "dull"], id=pa.array([1.0, 2.0]))
    assert ingest(tmp_path / "lake", first, id_column="id").written == 2
    same = write_csv(tmp_path / "r.csv", "id,text", "1.0,fine", "2,dull")
    again = ingest(tmp_path / "lake", same, id_column="id")
    assert (again.exit_code, again.known) == (99, 2)


def test_a_line_that_is_appended_gives_the_others_no_other_ids(tmp_path: Path) -> None:
    lines = ['{"id": 1.2345678901234567e+18, "text": "fine", "label": NaN}', '{"id": 1e-7, "text": "dull", "label": 1.5}']
    more = ['{"id": 7, "text": "so so", "label": 2}', '{"id": "x", "text": "a"}']
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    ingest(tmp_path / "lake", tmp_path / "r.jsonl", id_column="id", label_column="label")
    (tmp_path / "r.jsonl").write_text("\n".join(lines + more))
    again = ingest(tmp_path / "lake", tmp_path / "r.jsonl", id_column="id", label_column="label")
    assert (again.known, again.written, rejects_of(again)) == (2, 1, [(2, "unknown_label")])
    assert {row["review_id"] for row in rows_of(tmp_path / "lake")} == {"1234567890123456768", "1e-7", "x"}


def test_leading_zeros_of_ids_stay(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", "id,text", "007,fine", "7,dull", "07.0,so so")
    ingest(tmp_path / "lake", source, id_column="id")
    assert {row["review_id"] for row in rows_of(tmp_path / "lake")} == {"007", "7", "07.0"}


def test_a_column_of_lists_is_no_label(tmp_path: Path) -> None:
    path = write_table(tmp_path / "r.parquet", text=["fine", "dull"], label=[["x"], ["y", "z"]])
    with pytest.raises(DataError, match=r"the label column 'label' is list<.*expected one value per row"):
        ingest(tmp_path / "lake", path)


def test_a_nested_label_in_json_is_a_reject_of_its_row(tmp_path: Path) -> None:
    records = [{"text": "fine", "label": "pos"}, {"text": "dull", "label": ["neg"]}, {"text": "so", "label": {"a": 1}}]
    (tmp_path / "r.json").write_text(json.dumps(records))
    receipt = ingest(tmp_path / "lake", tmp_path / "r.json")
    assert (receipt.written, rejects_of(receipt)) == (1, [(1, "nested_value"), (2, "nested_value")])


def test_text_may_be_bytes(tmp_path: Path) -> None:
    path = write_table(tmp_path / "r.parquet", text=pa.array([b"fine", b"caf\xe9", b"nul\0"], pa.binary()))
    receipt = ingest(tmp_path / "lake", path)
    assert (receipt.written, rejects_of(receipt)) == (1, [(1, "invalid_utf8"), (2, "nul_byte")])


def test_several_text_columns_are_joined_and_missing_ones_passed_over(tmp_path: Path) -> None:
    rows = ["summary,text,label", "Fine,a good film,pos", ",bad film,neg", "Dull,,neg", ",,pos"]
    receipt = ingest(tmp_path / "lake", write_csv(tmp_path / "r.csv", *rows), text_column=("summary", "text"))
    assert (receipt.written, rejects_of(receipt)) == (3, [(3, "missing_text")])
    assert receipt.metrics["tokens"] == 4 + 2 + 1


def test_fields_of_structs_and_of_json_objects(tmp_path: Path) -> None:
    records = [{"review": {"body": "fine film", "mood": {"label": "pos"}}}, {"review": {"body": "dull", "mood": None}}]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "r.parquet")
    for name in ("r.jsonl", "r.parquet"):
        lake = tmp_path / "lakes" / name
        ingest(lake, tmp_path / name, text_column=("review.body",), label_column="review.mood.label")
        assert [(len(row["ids"]), row["label"]) for row in rows_of(lake)] == [(2, 0), (1, None)]


def test_json_in_an_array_and_in_lines_gives_the_same_rows(tmp_path: Path) -> None:
    records = [{"text": f"film {number}\nsecond line", "label": number % 2} for number in range(2000)]
    (tmp_path / "a.json").write_text(json.dumps(records, indent=2))
    (tmp_path / "b.json").write_text("".join(json.dumps(record) + "\n" for record in records))
    found = []
    for name in ("a", "b"):
        ingest(tmp_path / name, tmp_path / f"{name}.json")
        found.append([(row["row"], row["ids"], row["label"]) for row in rows_of(tmp_path / name)])
    assert found[0] == found[1]
    assert len(found[0]) == 2000


def test_json_lines_without_one_sound_object_are_not_a_file_without_rows(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"text": "broken\n')
    with pytest.raises(DataError, match="no object can be read; the first fault: Unterminated string"):
        ingest(tmp_path / "lake", tmp_path / "r.jsonl")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_in_utf_16_is_left_out_whole_and_read_when_converted(tmp_path: Path, encoding: str) -> None:
    """As PowerShell's `>` writes it. Its lines are not cut at their line feeds: half a character would be left over."""
    content = '{"text": "fine"}\n{"text": "dull"}\n{"text": "so \u010a"}\n'
    path = tmp_path / "r.jsonl"
    path.write_bytes(content.encode(encoding))
    with pytest.raises(DataError, match=r"r\.jsonl: is UTF-16 or UTF-32\. Save it as UTF-8, as with iconv"):
        ingest(tmp_path / "lake", path)
    path.write_text(path.read_bytes().decode(encoding), encoding="utf-8")
    assert ingest(tmp_path / "lake", path).written == 3


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("r.jsonl", '[{"text": "fine"}]', "--format json reads an array of objects"),
        ("r.jsonl", '{"text": "fine"},\n{"text": "dull"},\n', "Write one JSON object per line"),
        ("r.json", "<html>503</html>", "Write one JSON object per line, or one array of objects"),
        ("r.jsonl", '{"body": "fine"}', "found: body. Fields with text: 'body'. Choose one with --text-column"),
        ("r.jsonl", '// export\n{"body": "fine"}', "found: body. Fields with text: 'body'. Choose one with --text-column"),
        ("r.jsonl", '{"review": {"body": "fine"}}', "Fields with text: 'review.body'. Choose one with --text-column"),
        ("r.jsonl", '{"Text": "fine"}', "Did you mean 'Text'? Fields with text: 'Text'. Choose one with --text-column"),
        ("r.jsonl", "{}", "found: nothing. No other field has text"),
    ],
)
def test_json_without_a_review_has_a_remedy_for_its_own_fault(tmp_path: Path, name: str, content: str, remedy: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=re.escape(remedy)) as raised:
        ingest(tmp_path / "lake", tmp_path / name)
    assert ("--text-column" in str(raised.value)) == ("--text-column" in remedy)


def test_an_array_in_a_file_of_lines_is_read_as_the_message_says(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('[\n{"text": "fine"},\n{"text": "dull"}\n]\n')
    assert ingest(tmp_path / "lake", tmp_path / "r.jsonl", format="json").written == 2


def test_a_nul_byte_in_a_label_makes_no_class(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(b"text,label\nfine,pos\ndull,pos\0\n")
    (tmp_path / "r.jsonl").write_text('{"text": "so", "label": "pos\\u0000"}\n')
    receipt = ingest(tmp_path / "lake", tmp_path / "r.csv", tmp_path / "r.jsonl")
    assert (receipt.metrics["labels"], rejects_of(receipt)) == (["pos"], [(1, "nul_byte"), (0, "nul_byte")])


def test_uuids_are_what_other_formats_write_for_them(tmp_path: Path) -> None:
    """DuckDB and Spark write them to Parquet as 16 bytes of a type of its own."""
    ids = [uuid.uuid5(uuid.NAMESPACE_URL, str(number)) for number in range(2)]
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([value.bytes for value in ids], pa.binary(16)))
    first = write_table(tmp_path / "r.parquet", text=["fine", "dull"], id=column)
    assert ingest(tmp_path / "lake", first, id_column="id").written == 2
    same = write_csv(tmp_path / "r.csv", "id,text", f"{ids[0]},fine", f"{ids[1]},dull")
    assert ingest(tmp_path / "lake", same, id_column="id").known == 2


LATE = [
    f"a plain film number {number:05d} of many more to come,{'pos' if number % 2 else 'neg'}" for number in range(24_000)
]
"""More ASCII than the sample by which an encoding is guessed."""


@pytest.mark.parametrize("row", ["trés bien – déjà vu,pos", "fine,négatif"])
def test_letters_of_cp1252_after_the_sample_are_hinted_at_and_the_hint_reads_them(
    tmp_path: Path, command: Run, row: str
) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes("\n".join(["text,label", *LATE, row, row]).encode("cp1252"))
    done = command("ingest", path, "--lake", tmp_path / "lake")
    assert (done.code, done.receipt["rejected"]) == (0, 2)
    hint = "--encoding cp1252"
    assert re.search(rf"2 rows rejected: invalid_utf8 .*r\.csv, row 24000\. If the whole file is .*{hint}", done.stderr)
    again = command("ingest", path, "--lake", tmp_path / "other", *hint.split())
    assert (again.code, again.receipt["rejected"], again.receipt["written"]) == (0, 0, 24_002)


@pytest.mark.parametrize(
    "rows",
    [["déjà ".encode() + b"\xe9,pos"], [b"a\x81\xe9,pos"], [b"tr\xe9s,pos", b"d\xc3\xa9j\xe9,neg"]],
    ids=["mixed", "none", "some"],
)
def test_bytes_that_cannot_all_be_cp1252_have_no_hint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: list[bytes]
) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"\n".join([b"text,label", *(row.encode() for row in LATE), *rows]))
    assert ingest(tmp_path / "lake", path).rejected == len(rows)
    assert "invalid_utf8" in caplog.text
    assert "--encoding" not in caplog.text


def test_formats_without_an_encoding_have_no_hint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_table(
        tmp_path / "r.parquet", text=pa.array([b"fine"] * 40 + [b"tr\xe9s"]), label=["pos", "neg"] * 20 + ["pos"]
    )
    assert ingest(tmp_path / "lake", path).rejected == 1
    assert "invalid_utf8" in caplog.text
    assert "--encoding" not in caplog.text
