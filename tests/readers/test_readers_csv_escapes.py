"""Tables with a backslash before quotation marks inside fields, as Spark, MySQL and Python's csv module write them."""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.readers import csv_records
from pipeline.readers.base import Dialect, Reading, Source
from pipeline.readers.csv_escapes import doubled, doubled_blocks
from pipeline.readers.dialect import sniff
from tests.support.commands import run_here
from tests.support.ingested import ingest, texts_of

SPARK = "".join(f'"he said \\"good {n}\\", fine",pos\n"bad, {n}",neg\n' for n in range(30))


def _written(rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, escapechar="\\", doublequote=False, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _values(path: Path, dialect: Dialect) -> list[list[str]]:
    source = Source(path=path, name=path.name, format="csv")
    batches = list(csv_records.read(source, Reading(dialect=dialect)))
    assert not any(batch.bad for batch in batches)
    rows = [row for batch in batches for row in batch.table.to_pylist()]
    return [[(value or b"").decode() for value in row.values()] for row in rows]


@given(st.lists(st.lists(st.text('a\\", \né', max_size=6), min_size=2, max_size=2), min_size=1, max_size=8))
def test_what_pythons_csv_module_escapes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    path = tmp_path_factory.mktemp("escapes") / "t.csv"
    path.write_text(_written([["text", "more"], *rows]), newline="")
    assert _values(path, Dialect(delimiter=",", quote='"', encoding="utf-8", escape="\\")) == rows


@given(st.binary(max_size=40).map(lambda data: data.replace(b"a", b"\\").replace(b"b", b'"')), st.integers(1, 7))
def test_blocks_are_rewritten_as_the_whole_is(data: bytes, size: int) -> None:
    blocks = iter([data[start : start + size] for start in range(0, len(data), size)])
    assert b"".join(doubled_blocks(blocks, "\\", '"')) == doubled(data, "\\", '"')


def test_escapes_are_detected_and_rows_keep_their_values(tmp_path: Path) -> None:
    path = tmp_path / "spark.csv"
    path.write_text("text,label\n" + SPARK)
    receipt = ingest(tmp_path / "lake", path, strict=True)
    assert (receipt.read, receipt.written, receipt.rejected) == (60, 60, 0)
    assert "he said good 7 , fine" in texts_of(tmp_path / "lake").values()


def test_a_backslash_at_the_end_of_a_quoted_field_is_no_escape_where_marks_are_doubled() -> None:
    table = "text,folder\n" + "".join(f'"good ""{n}"" film","C:\\films\\"\n' for n in range(20))
    assert sniff(table.encode(), whole=True).escape == ""
    assert sniff(("text,label\n" + SPARK).encode(), whole=True).escape == "\\"
    assert sniff(("text,label\n" + SPARK).encode(), given=Dialect(escape=""), whole=True).escape == ""


def test_init_writes_the_escape_down_and_score_keeps_the_values(tmp_path: Path) -> None:
    path, lake = tmp_path / "spark.csv", tmp_path / "lake"
    path.write_text("text,label\n" + SPARK)
    assert run_here("--lake", lake, "init", path).code == 0
    assert 'escape = "\\\\"' in (lake / "pipeline.toml").read_text()
    assert run_here("--lake", lake, "ingest").code == 0
    assert run_here("--lake", lake, "train", "--arch", "nbsvm").code == 0
    assert run_here("--lake", lake, "score", path, "--output", tmp_path / "out.parquet").code == 0
    texts = pq.read_table(tmp_path / "out.parquet")["text"]
    assert texts[0].as_py() == 'he said "good 0", fine' and texts.type == pa.string()


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        ({"escape": "ab"}, "--escape 'ab': expected one ASCII character, or 'none'"),
        ({"escape": ",", "delimiter": ","}, "--delimiter and --escape are both ','"),
    ],
)
def test_an_escape_that_cannot_be_is_refused(dialect: dict[str, str], message: str) -> None:
    values = {"delimiter": None, "quote": None, "encoding": None, **dialect}
    with pytest.raises(UsageError) as caught:
        Dialect.checked(**values)
    assert str(caught.value).startswith(message)
