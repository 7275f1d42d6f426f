"""The loops over rows, compiled and without a compiler: both give the same, and that of their definitions."""

import hashlib
import itertools
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import columns
from pipeline.text.columns import CASED, CHANGES, HAS_NUL, NOT_UTF8, WordIndex

SIZES = [0, 1, 54, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 1000]
"""Around the ends of SHA-256's blocks."""
TEXT = st.text() | st.text(alphabet="aÉé\u0130\u03a3\u212a\U0001e900 \0")
ODD = st.sampled_from(
    [b"", b"\x80", b"\xc0\xaf", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf5", b"\xe2\x82", b"\0", b"a" * 40]
)
BYTES = TEXT.map(str.encode) | st.binary(max_size=80) | st.lists(ODD | TEXT.map(str.encode)).map(b"".join)


def sliced(rows: list[bytes]) -> pa.BinaryArray:
    """The rows as a part of a longer column."""
    return pa.array([b"before", *rows, b"behind"], pa.binary())[1:-1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tail", [b"", b"\0['pos', 9, 'train', None]", b"x" * 64])
def test_rows_have_their_sha256(size: int, tail: bytes) -> None:
    rows = [bytes(size), b"row", bytes(range(256)) * 4 + b"x" * size]
    found = columns.sha256_rows(sliced(rows), [b"", tail], np.array([1, 0, 1], np.int32))
    expected = [hashlib.sha256(row + end).hexdigest() for row, end in zip(rows, [tail, b"", tail], strict=True)]
    assert columns.hexadecimal(found).to_pylist() == expected


@given(rows=st.lists(BYTES, max_size=8), tails=st.lists(BYTES, min_size=1, max_size=3), data=st.data())
def test_both_forms_give_the_same_digests(rows: list[bytes], tails: list[bytes], data: st.DataObject) -> None:
    which = np.array([data.draw(st.integers(0, len(tails) - 1)) for _ in rows], np.int32)
    found = columns.sha256_rows(sliced(rows), tails, which)
    np.testing.assert_array_equal(found, columns.hashed_by_openssl(sliced(rows), tails, which))


def state_of(row: bytes) -> int:
    """A text's state as it is defined."""
    nul = HAS_NUL if b"\0" in row else 0
    try:
        text = row.decode()
    except UnicodeDecodeError:
        return nul | NOT_UTF8
    return nul | (CHANGES if any(letter.lower() != letter for letter in text if not letter.isascii()) else 0)


@given(rows=st.lists(BYTES, max_size=8))
def test_states_are_those_of_python(rows: list[bytes]) -> None:
    expected = [state_of(row) for row in rows]
    assert columns.text_states(sliced(rows)).tolist() == expected
    assert columns.text_states_of_numpy(sliced(rows)).tolist() == expected


def test_no_character_has_case_beyond_those_that_are_looked_at() -> None:
    assert not any(chr(code).lower() != chr(code) for code in range(CASED, sys.maxunicode + 1))


def test_every_character_that_has_a_lower_case_changes() -> None:
    characters = [chr(code) for code in range(CASED) if not 0xD800 <= code < 0xE000]
    states = columns.text_states(pa.array(characters, pa.string()))
    assert [bool(state & CHANGES) for state in states] == [c.lower() != c and not c.isascii() for c in characters]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("train/pos/12_8.txt", [10, 12, 8]),
        ("0_0.txt.gz", [0, 0, 0]),
        ("a/000000007_10", [2, 7, 10]),
        ("1234567890_1.txt", [0, -1, -1]),
        ("12.txt", [0, 12, -1]),
        ("12_8x.txt", [0, 12, -1]),
        ("12_1234.txt", [0, 12, -1]),
        ("12_.txt", [0, 12, -1]),
        ("12", [0, -1, -1]),
        ("1_1/", [4, -1, -1]),
        ("ä/x1_2.txt", [3, -1, -1]),
        ("\u0661_\u0662.txt", [0, -1, -1]),
        ("", [0, -1, -1]),
    ],
)
def test_names_have_numbers(path: str, parts: list[int]) -> None:
    assert columns.name_numbers(pa.array(["", path])).tolist()[1] == parts
    assert columns.name_numbers_of_python(pa.array(["", path])).tolist()[1] == parts


@given(paths=st.lists(st.text(alphabet="0129_./xä", max_size=16)))
def test_both_forms_find_the_same_numbers(paths: list[str]) -> None:
    column = pa.array(["9_9", *paths])[1:]
    np.testing.assert_array_equal(columns.name_numbers(column), columns.name_numbers_of_python(column))


@pytest.mark.parametrize("width", [pa.uint16(), pa.int32()])
@given(words=st.lists(st.text(max_size=12), unique=True), tokens=st.lists(st.text(max_size=12)), data=st.data())
def test_tokens_have_the_places_of_their_words(
    width: pa.DataType, words: list[str], tokens: list[str], data: st.DataObject
) -> None:
    tokens = [*tokens, *(data.draw(st.lists(st.sampled_from(words))) if words else [])]
    column = pa.array(["before", *tokens], pa.string()).cast(pa.dictionary(width, pa.string()))[1:]
    index = WordIndex(pa.array(["cut off", *words], pa.string())[1:])
    expected = [words.index(token) + 2 if token in words else 1 for token in tokens]
    assert index.ids(column, 2, 1).to_pylist() == expected
    assert index.ids_of_arrow(column, 2, 1).to_pylist() == expected


@given(tokens=st.lists(st.sampled_from("abc")))
def test_tokens_are_counted(tokens: list[str]) -> None:
    column = pa.array(["z", *tokens], pa.string()).dictionary_encode()[1:]
    found = dict(zip(column.dictionary.to_pylist(), columns.occurrences(column).tolist(), strict=True))
    assert found == {"z": 0, **{token: tokens.count(token) for token in tokens}}


def counted(tokens: list[tuple[str, int]]) -> pa.Table:
    """As a part of a longer table."""
    rows = [("before", 1), *tokens, ("behind", 1)]
    table = pa.table({"token": [token for token, _ in rows], "count": pa.array([count for _, count in rows], pa.int64())})
    return table.slice(1, len(tokens))


COUNTED = st.lists(st.tuples(st.text(alphabet="ab\0é", max_size=3) | st.text(max_size=20), st.integers(0, 2**40)))


@given(parts=st.lists(COUNTED, max_size=4))
def test_counts_of_the_same_token_are_summed(parts: list[list[tuple[str, int]]]) -> None:
    expected: dict[str, int] = {}
    for token, count in itertools.chain.from_iterable(parts):
        expected[token] = expected.get(token, 0) + count
    for sums in (columns.sum_counts, columns.sum_counts_of_arrow):
        found = sums([counted(part) for part in parts])
        assert list(zip(found["token"].to_pylist(), found["count"].to_pylist(), strict=True)) == [*expected.items()]
        assert found.schema.types == [pa.string(), pa.int64()]


def test_thousands_of_tokens_of_any_length_are_summed() -> None:
    tokens = ["x" * (number % 40) + str(number % 5_003) for number in range(30_000)]
    parts = [counted([(token, 1) for token in tokens[start : start + 7_000]]) for start in range(0, 30_000, 7_000)]
    found = columns.sum_counts(parts)
    assert found["token"].to_pylist() == list(dict.fromkeys(tokens))
    assert dict(zip(found["token"].to_pylist(), found["count"].to_pylist(), strict=True)) == Counter(tokens)
    assert columns.sum_counts_of_arrow(parts).equals(found)


KEYS = st.one_of(
    st.integers(0, 40),
    st.integers(0, 2**64 - 1),
    st.integers(2**64 - 40, 2**64 - 1),
    st.integers(0, 2**63).map(lambda key: key - key % 2**56),
)


@given(keys=st.sets(KEYS, max_size=60), wanted=st.lists(KEYS, max_size=20), data=st.data())
def test_keys_are_found_where_they_stand(keys: set[int], wanted: list[int], data: st.DataObject) -> None:
    wanted = sorted([*wanted, *(data.draw(st.lists(st.sampled_from(sorted(keys)))) if keys else [])])
    given_keys, asked = np.array(sorted(keys), np.uint64), np.array(wanted, np.uint64)
    expected = [sorted(keys).index(key) if key in keys else -1 for key in wanted]
    assert columns.find_keys(given_keys, asked).tolist() == expected
    assert columns.find_keys_of_numpy(given_keys, asked).tolist() == expected


@pytest.mark.parametrize("spread", [1, 2**20, 2**44])
def test_keys_are_found_among_many_however_they_are_spread(spread: int) -> None:
    keys = np.unique(np.random.default_rng(0).integers(0, 2**20 * spread, 100_000, np.uint64))
    asked = np.sort(np.concatenate([keys[::7], keys[::11] + np.uint64(1)]))
    np.testing.assert_array_equal(columns.find_keys(keys, asked), columns.find_keys_of_numpy(keys, asked))


@pytest.mark.skipif(not columns.COMPILED, reason="nothing was compiled")
def test_the_compiled_loops_refuse_bounds_outside_of_their_data() -> None:
    from pipeline.text import _columns

    text, bounds = np.zeros(4, np.uint8), np.array([0, 5], np.int32)
    sound, falling = np.array([0, 4], np.int32), np.array([4, 0], np.int32)
    for wrong in (bounds, falling, np.array([], np.int32)):
        with pytest.raises(ValueError, match="bounds"):
            _columns.text_states(text, wrong, np.zeros(0x110000 // 8, np.uint8))
        with pytest.raises(ValueError, match="bounds"):
            _columns.word_table(text, wrong)
    with pytest.raises(ValueError, match="beyond"):
        _columns.occurrences(np.array([3], np.int32), 3)
    with pytest.raises(ValueError, match="beyond"):
        _columns.word_ids(_columns.word_table(text, sound), text, sound, text, sound, np.array([-1], np.int32), 4, 2, 1)
    with pytest.raises(ValueError, match="beyond"):
        _columns.word_ids(_columns.word_table(text, sound), text, sound, text, sound, np.array([1], np.uint16), 2, 2, 1)
    for edges, number in ((bounds, 1), (falling, 1), (sound, 2)):
        with pytest.raises(ValueError, match="a count for each"):
            _columns.sum_counts([(text, sound, np.zeros(1, np.int64)), (text, edges, np.zeros(number, np.int64))])
    if hasattr(_columns, "sha256"):
        with pytest.raises(ValueError, match="tail"):
            _columns.sha256(text, sound, b"", np.array([0, 0], np.int32), np.array([1], np.int32))
