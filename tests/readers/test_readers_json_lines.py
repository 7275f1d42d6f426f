"""Lines of JSON: whoever reads a batch, Arrow or Python, its rows and faults are the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.readers import json_lines
from pipeline.readers.base import FileFault, Reading, Source
from pipeline.readers.bounds import Bounds
from pipeline.readers.json_lines import ArrowLines, Lines
from pipeline.readers.json_records import array_or_lines, lines, read_records
from pipeline.readers.values import RULE_VERSION, values_of
from schemas.bad_row import BadRow

BATCH_BYTES = 120
"""So few that every few lines are a batch."""
READING = Reading(columns=("text", "label"), text=("text",), bounds=Bounds(batch=BATCH_BYTES))
TWO_TEXTS = replace(READING, columns=("title", "text", "label"), text=("title", "text"))

VALUES: Any = st.one_of(
    st.text(),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([0.0, -0.0, 5.0, 4.5, 1e-3, 1e-5, 5e-324, 1e15, 1e15 + 0.5, 2**53, 2**53 + 1, 2**63, -(2**63), 10**700]),
    st.sampled_from(["\ud800", "\ud83d\ude00", "\0", "5.0", "true", "", " a ", "2018-01-01", [], {"a": [1]}]),
)
OBJECTS = st.builds(
    lambda members, ascii_only: json.dumps(members, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"),
    st.fixed_dictionaries({}, optional={"text": st.text(), "title": st.text(), "label": VALUES, "other": VALUES}),
    st.booleans(),
)
SOUND = st.builds(
    lambda text, label: json.dumps({"text": text, "label": label}).encode(),
    st.text(min_size=1),
    st.sampled_from(["pos", "neg", 1, 5, 4.5, True, None]),
)
ODD = st.sampled_from(
    [
        b"",
        b"  ",
        b"\r",
        b"{}",
        b"{",
        b"}",
        b"[]",
        b"null",
        b'{"text":',
        b'"a"}',
        b'{"text": "a"} {"text": "b"}',
        b'{"text": "a"}{"text": "b"}',
        b'{"text": "a"}\r',
        b' {"text": "a"}',
        b'{"text": "a"} ',
        b'\xef\xbb\xbf{"text": "a"}',
        b'{"text": "a", "text": "b"}',
        b'{"text": "a", "label": {"text": "b"}}',
        b'{"text": "a", "other": NaN}',
        b'{"text": "a", "label": NaN}',
        b'{"text": "a", "label": -Infinity}',
        b'{"text": "a", "label": 1e400}',
        b'{"text": "a", "label": 01}',
        b'{"text": "a", "label": 0.00005}',
        b'{"text": "a", "label": 5.0}',
        b'{"text": "a", "other": ' + b"7" * 5000 + b"}",
        b'{"text": "a", "other": ' + b"[" * 1100 + b"]" * 1100 + b"}",
        b'{"text": "a", "other": "' + b"[" * 1100 + b'"}',
        b'{"text": "\xff"}',
        b'{"text": "\xed\xa0\x80"}',
        b'{"text": "a\0"}',
        b'{"text": "a\tb"}',
        b'{"text": 5}',
        b'{"te\\u0078t": "a\\/\\n"}',
        b'{"text": "a", "\xff": 1}',
    ]
)
CONTENT = st.lists(SOUND | OBJECTS | ODD, max_size=24)

Found = tuple[list[tuple[int, bytes | None, list[str | None]]], list[BadRow], str | None]


def rows_and_faults(path: Path, reading: Reading) -> Found:
    """Numbers, texts and other values of the rows; the faults; and what is wrong with the file."""
    source = Source(path=path, name=path.name, format="jsonl")
    rows, bad, fault = [], [], None
    try:
        for part in read_records(source, reading, lines):
            texts = [part.table[name].cast("binary").to_pylist() for name in reading.text]
            labels = values_of(part.table["label"], RULE_VERSION)
            rows += list(zip(part.row.tolist(), zip(*texts, strict=True), labels, strict=True))
            bad += part.bad
    except FileFault as error:
        fault = str(error)
    return rows, bad, fault


@pytest.mark.parametrize("reading", [READING, TWO_TEXTS], ids=["one text", "two texts"])
@given(content=CONTENT, ends=st.sampled_from([b"\n", b"\r\n"]), last=st.booleans())
@example(content=[b'{"text": "a", "label": "x"}'] * 4 + [b'{"text": "a"}{"text":', b'"b"}'] * 3, ends=b"\n", last=True)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arrow_gives_the_rows_that_python_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: Reading, content: list[bytes], ends: bytes, last: bool
) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_bytes(ends.join([*content, b""] if last else content))
    found = rows_and_faults(path, reading)
    with monkeypatch.context() as patch:
        patch.setattr(ArrowLines, "table", lambda self, batch: None)
        assert found == rows_and_faults(path, reading)


@pytest.mark.parametrize("label", ['"pos"', "5", "4.5", "true", "null"])
def test_plain_objects_are_read_by_arrow_after_the_first_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(f'{{"text": "na\\u00efve {number}", "label": {label}}}\n' for number in range(40)))
    tables = []
    real = ArrowLines.table
    monkeypatch.setattr(ArrowLines, "table", lambda self, batch: tables.append(real(self, batch)) or tables[-1])
    rows, bad, fault = rows_and_faults(path, READING)
    assert [number for number, _, _ in rows] == list(range(40))
    assert (bad, fault) == ([], None)
    assert tables[0] is None
    assert all(table is not None for table in tables[1:])


NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.floats(1e-8, 1e-3),
    st.floats(1e12, 1e24),
    st.sampled_from([1e-7, 5e-5, 1e15 + 0.5, 1234567890123.25, 1e16, 1e22, 1.2345678901234567e18, 2**53 + 1, 2**63, -0.0]),
)


@given(labels=st.lists(NUMBERS | st.sampled_from(["q", "NaN", "5.0", True, None]), min_size=1, max_size=24), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_value_does_not_depend_on_the_others_of_its_batch(tmp_path: Path, labels: list[Any], data: st.DataObject) -> None:
    labels = data.draw(st.permutations(labels))
    objects = [json.dumps({"text": f"number {number}", "label": label}) for number, label in enumerate(labels)]
    alone = []
    for one in objects:
        (tmp_path / "one.jsonl").write_text(one)
        alone.append(rows_and_faults(tmp_path / "one.jsonl", READING)[0][0][2])
    for reading in (READING, replace(READING, bounds=Bounds())):  # several batches, and one
        (tmp_path / "all.jsonl").write_text("\n".join(objects))
        assert [label for _, _, label in rows_and_faults(tmp_path / "all.jsonl", reading)[0]] == alone
    (tmp_path / "all.json").write_text(f"[{','.join(objects)}]")
    source = Source(path=tmp_path / "all.json", name="all.json", format="json")
    parts = read_records(source, READING, array_or_lines)
    assert [label for part in parts for label in values_of(part.table["label"], RULE_VERSION)] == alone


@pytest.mark.parametrize("neighbour", ["1.5", "2", '"q"', "true", "null"])
def test_floats_of_json_are_those_of_parquet_whatever_stands_beside_them(tmp_path: Path, neighbour: str) -> None:
    floats = [1e-7, 1e22, 1e16, 1.2345678901234567e18, 4.5, -0.0, float("inf"), float("nan")]
    (tmp_path / "r.jsonl").write_text(
        "".join(f'{{"text": "a", "label": {label}}}\n' for label in [*map(json.dumps, floats), neighbour])
    )
    found = [label for _, _, label in rows_and_faults(tmp_path / "r.jsonl", replace(READING, bounds=Bounds()))[0]]
    assert found[:-1] == values_of(pa.array(floats), RULE_VERSION)


def test_lakes_of_rule_1_keep_the_values_that_they_have(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(
        "".join(f'{{"text": "a", "label": {label}}}\n' for label in ("5.0", "1e-7", "1e22", "NaN", "2"))
    )
    source = Source(path=tmp_path / "r.jsonl", name="r.jsonl", format="jsonl")
    (part,) = read_records(source, replace(READING, bounds=Bounds(), rule=1), lines)
    assert values_of(part.table["label"], 1) == ["5.0", "1e-07", "1e+22", "NaN", "2"]


@given(content=CONTENT)
def test_every_line_that_is_not_blank_keeps_its_number(content: list[bytes]) -> None:
    data = b"\n".join([b"{}", *content])
    expected = [(number, line) for number, line in enumerate(data.split(b"\n"), 7) if line.strip(b" \t\r\n")]
    found = Lines.of(data, 7)
    assert list(found) == expected
    batches = list(found.batches(BATCH_BYTES))
    taken = [record for batch in batches for record in batch]
    assert taken == expected[: len(taken)]
    assert sum(len(line) for _, line in expected[len(taken) :]) < BATCH_BYTES
    for batch in batches:
        size = sum(len(line) for _, line in batch)
        assert size >= BATCH_BYTES > size - len(list(batch)[-1][1])


def test_a_batch_has_no_more_lines_than_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "BATCH_ROWS", 3)
    found = Lines.of(b"{}\n" * 8, 0)
    assert [len(batch) for batch in found.batches(1 << 20)] == [3, 3]


def test_lines_of_an_array_file_are_read_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "reviews.json"
    path.write_text('\n\n{"text": "a"}\n{"text": "b"}')
    source = Source(path=path, name=path.name, format="json")
    parts = list(read_records(source, replace(READING, columns=("text",)), array_or_lines))
    assert [part.row.tolist() for part in parts] == [[2, 3]]
