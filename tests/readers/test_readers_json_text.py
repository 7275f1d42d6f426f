"""Members of JSON objects as their own text."""

import json
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.readers.json_text import Kinds, members, typed

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


@given(st.dictionaries(st.text(), VALUES), st.sampled_from([None, 1]), st.booleans())
def test_every_member_is_the_text_that_was_written(record: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(record, indent=indent, ensure_ascii=ascii_only)
    found = members(f" {text}\n")
    assert list(found) == list(record)
    assert {name: json.loads(raw) for name, raw in found.items()} == record
    assert all(raw in text for raw in found.values())


def test_numbers_keep_their_digits() -> None:
    assert members('{"a": 1.10, "b":1e400 ,"c": -0, "a": 2}') == {"a": "2", "b": "1e400", "c": "-0"}


@given(st.lists(st.one_of(st.none(), SCALARS.filter(lambda value: not isinstance(value, str)), st.text())))
def test_the_type_of_a_column_holds_all_its_values(values: list[Any]) -> None:
    kinds = Kinds()
    for value in values:
        kinds.add(value)
    column = typed(pa.array([json.dumps(value) for value in values], pa.string()), kinds.common())
    assert column.type == kinds.common()
    if not pa.types.is_string(column.type):
        assert column.to_pylist() == values
    else:
        expected = [value if isinstance(value, str | None) else json.dumps(value) for value in values]
        assert column.to_pylist() == [value if value is None else _storable(value) for value in expected]


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
