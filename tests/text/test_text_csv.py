"""The records of a CSV, as the compiled and the NumPy kernel find them in any bytes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import kernels, numpy_csv

FORMS = pytest.mark.parametrize("csv_records", [kernels.csv_records, numpy_csv.csv_records], ids=["compiled", "numpy"])
"""The same twice where nothing was compiled."""
Csv = Callable[[bytes, int, int, int], tuple[Any, bool]]
NO_QUOTE = -1
LIMIT = 1 << 20
PARTS = st.sampled_from(
    [b",", b";", b'"', b'""', b'",', b',"', b'"\n', b"\n", b"\r", b"\r\n", b"a", b"\0", b"\xff", b"x" * 40]
)
DATA = st.binary(max_size=80) | st.lists(PARTS, max_size=40).map(b"".join)
DELIMITERS = st.sampled_from(b",;\t\xff")
QUOTES = st.sampled_from([NO_QUOTE, *b"\"'"])


@given(data=DATA, delimiter=DELIMITERS, quote=QUOTES, limit=st.sampled_from([5, LIMIT]))
def test_both_forms_find_the_same_records(data: bytes, delimiter: int, quote: int, limit: int) -> None:
    """NumPy may stop sooner if an unquoted field contains a quotation mark."""
    found, sound = kernels.csv_records(data, delimiter, quote, limit)
    records = np.frombuffer(found, np.int64).reshape(-1, 5)
    numpy_records, numpy_sound = numpy_csv.csv_records(data, delimiter, quote, limit)
    np.testing.assert_array_equal(numpy_records, records[: len(numpy_records)])
    if numpy_sound:
        assert sound
        assert len(numpy_records) == len(records)
    if quote == NO_QUOTE:
        assert (numpy_sound, len(numpy_records)) == (sound, len(records))


@FORMS
@pytest.mark.parametrize(
    ("data", "records", "sound"),
    [
        (b"", [], True),
        (b"a,b\nc", [[0, 3, 4, 2, 0]], True),
        (b'"a\r\nb\nc",d\r\n\n', [[0, 10, 12, 2, 2], [12, 12, 13, 0, 0]], True),
        (b"a\r", [], True),
        (b'a\n"b', [[0, 1, 2, 1, 0]], True),
        (b'a\n"b"', [[0, 1, 2, 1, 0]], True),
        (b'a\n"b"c\nd\n', [[0, 1, 2, 1, 0]], False),
        (b'"a ""b"" c"\n', [[0, 11, 12, 1, 0]], True),
        (b"x" * 99 + b",y\n" + b"z" * 200 + b"\n", [[0, 101, 102, 2, 0]], False),
    ],
)
def test_a_record_ends_where_a_line_ends_outside_of_quotes(
    csv_records, data: bytes, records: list[list[int]], sound: bool
) -> None:
    found, is_sound = csv_records(data, ord(","), ord('"'), 120)
    assert np.frombuffer(found, np.int64).reshape(-1, 5).tolist() == records
    assert is_sound == sound
