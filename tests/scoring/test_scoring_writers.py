"""Cells of CSV and values of JSON lines: reading them gives what was written."""

import csv
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.output_format import OutputFormat, output_format
from pipeline.errors import UsageError
from pipeline.scoring.writers import csv_cells, json_values

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(TEXTS, min_size=1))
def test_any_text_comes_back_from_csv(texts: list[str]) -> None:
    line = ",".join(csv_cells("text", pa.array(texts))) + ",end\n"
    assert next(csv.reader(io.StringIO(line, newline=""))) == [*texts, "end"]


@given(st.lists(TEXTS | st.none()))
def test_any_text_comes_back_from_json(texts: list[str | None]) -> None:
    values = json_values("text", pa.array(texts, pa.string()))
    assert [json.loads(value) for value in values] == texts
    assert not any("\n" in value for value in values)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.sampled_from([32, 64]))
def test_floats_come_back_and_stay_floats(floats: list[float], bits: int) -> None:
    column = pa.array(floats, pa.float64())
    if bits == 32:
        column = column.cast(pa.float32(), safe=False)
    for write in (csv_cells, json_values):
        texts = write("x", column)
        finite = [(text, value) for text, value in zip(texts, column.to_pylist(), strict=True) if abs(value) < float("inf")]
        assert pa.array([float(text) for text, _ in finite]).cast(column.type).to_pylist() == [value for _, value in finite]
        assert all(any(mark in text for mark in ".e") for text, _ in finite)


@pytest.mark.parametrize(
    ("output", "named", "expected"),
    [
        (None, None, OutputFormat("parquet")),
        (None, "csv", OutputFormat("csv")),
        ("-", None, OutputFormat("jsonl")),
        ("-", "parquet", OutputFormat("parquet")),
        ("a/b.PARQUET", None, OutputFormat("parquet")),
        ("b.2026.csv.gz", None, OutputFormat("csv", "gzip")),
        ("b.ndjson.zst", None, OutputFormat("jsonl", "zstd")),
        ("b.bz2", "csv", OutputFormat("csv", "bz2")),
        ("/dev/fd/3", "csv", OutputFormat("csv")),
    ],
)
def test_the_suffix_names_the_format(output: str | None, named: str | None, expected: OutputFormat) -> None:
    assert output_format(output, named) == expected


@pytest.mark.parametrize(
    ("output", "named"),
    [("a.txt", None), ("a", None), ("a.gz", None), ("a.csv", "jsonl"), ("a.parquet.gz", None), ("a.gz", "parquet")],
)
def test_suffixes_that_contradict_or_say_nothing_are_refused(output: str, named: str | None) -> None:
    with pytest.raises(UsageError):
        output_format(output, named)
