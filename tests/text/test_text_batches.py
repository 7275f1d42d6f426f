"""Rows of tokens, padded or side by side: compiled and in NumPy, against plain Python."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import kernels, numpy_batches

ROWS = st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=6)
FILLED = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), min_size=1, max_size=6)
Kernel = Callable[..., Any]


def _arrays(rows: list[list[int]]) -> tuple[Any, Any, Any]:
    """The rows side by side, the last one first, so that starts are no running sum."""
    lengths = np.array([len(row) for row in rows], np.int64)
    values = np.array([token for row in reversed(rows) for token in row], np.int32)
    return values, len(values) - np.cumsum(lengths), lengths


@pytest.mark.parametrize("pad", [kernels.pad, numpy_batches.pad])
@given(rows=ROWS, more=st.integers(0, 3))
def test_padded_rows_end_with_zeros(pad: Kernel, rows: list[list[int]], more: int) -> None:
    positions = max(map(len, rows), default=0) + more
    padded = np.full((len(rows), positions), -1, np.int32)
    pad(*_arrays(rows), positions, padded)
    assert padded.tolist() == [row + [0] * (positions - len(row)) for row in rows]


@pytest.mark.parametrize("pad", [kernels.pad, numpy_batches.pad])
@pytest.mark.parametrize(("start", "length"), [(-1, 1), (2, 2), (0, 3)])
def test_rows_that_do_not_fit_are_refused(pad: Kernel, start: int, length: int) -> None:
    with pytest.raises(ValueError, match="pad"):
        pad(np.zeros(3, np.int32), np.array([start]), np.array([length]), 2, np.zeros((1, 2), np.int32))


@pytest.mark.parametrize("join", [kernels.join, numpy_batches.join])
@given(rows=ROWS)
def test_joined_rows_stand_side_by_side(join: Kernel, rows: list[list[int]]) -> None:
    tokens = np.full(sum(map(len, rows)), -1, np.int64)
    join(*_arrays(rows), tokens)
    assert tokens.tolist() == [token for row in rows for token in row]


@pytest.mark.parametrize("pack", [kernels.pack, numpy_batches.pack])
@given(rows=FILLED, both=st.booleans())
def test_packed_rows_are_read_position_by_position_from_both_ends(pack: Kernel, rows: list[list[int]], both: bool) -> None:
    rows = sorted(rows, key=len, reverse=True)
    counts = np.zeros(len(rows[0]), np.int64)
    tokens, mirrored = np.full(sum(map(len, rows)), -1, np.int32), np.full(sum(map(len, rows)) * both, -1, np.int32)
    pack(*_arrays(rows), counts, tokens, mirrored)

    positions = range(len(rows[0]))
    assert counts.tolist() == [sum(len(row) > place for row in rows) for place in positions]
    assert tokens.tolist() == [row[place] for place in positions for row in rows if len(row) > place]
    if both:
        assert tokens[mirrored].tolist() == [row[-1 - place] for place in positions for row in rows if len(row) > place]


@pytest.mark.parametrize("pack", [kernels.pack, numpy_batches.pack])
@pytest.mark.parametrize(("starts", "lengths"), [([0, 1], [1, 2]), ([0, 2], [2, 2]), ([0, 0], [2, 0]), ([], [])])
def test_rows_that_cannot_be_packed_are_refused(pack: Kernel, starts: list[int], lengths: list[int]) -> None:
    counts, tokens = np.zeros(max(lengths, default=0), np.int64), np.zeros(sum(lengths), np.int32)
    rows = np.array(starts, np.int64), np.array(lengths, np.int64)
    with pytest.raises(ValueError, match="longest first"):
        pack(np.zeros(3, np.int32), *rows, counts, tokens, np.zeros(0, np.int32))
