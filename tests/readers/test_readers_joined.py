"""Texts of several columns as one."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.readers.reviews import joined

CELLS = st.one_of(st.none(), st.just(b""), st.binary(min_size=1, max_size=3))


@given(st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6)))
def test_each_row_joins_its_own_filled_cells(rows: list[list[bytes | None]]) -> None:
    if not rows or len(rows[0]) == 1:
        return
    columns = [pa.array(column, pa.binary()) for column in zip(*rows, strict=True)]
    expected = [b"\n".join(cell for cell in row if cell) or None for row in rows]
    assert joined(columns).to_pylist() == expected
