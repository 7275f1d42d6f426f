"""Content digests: the bytes that are digested never change, or every review of every lake would count as changed."""

import hashlib
import sys
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lake.identity import content_digests, content_sha256
from pipeline.lake.unprintable import unprintable
from pipeline.text.columns import hexadecimal

Review = tuple[bytes, str | None, int | None, str | None, str | None]

DIGESTS: list[tuple[Review, str]] = [
    (
        (b"Good.", "pos", 9, "train", None),
        "3263e42d34df13d524719c265d1ad58ed1b736708fc95104edef9c76a1634df9",
    ),
    (
        (b"", None, None, None, None),
        "4b3a5b45691a14307382ce9e45fbeaeb1f13c6979918da5da298737789ebcd31",
    ),
    (
        (b"Good.", None, None, "unsup", None),
        "a09ffdeaf23bdf2fd342b7db63120d1d3d5afe70c7ad09dd11053556dd345be6",
    ),
    (
        (b"Good.", "None", None, "train", None),
        "7517719d3a4a3a94184b0a969d9c1a4ff8003a2f3d1f1bb0aa4232d3922c1563",
    ),
    (
        (b"Good.", "0.5", 0, "valid", "-1"),
        "e177f8160427136aa03c636407c76b8e1c4726a8ee1ff2b5ba82f32aa72eeac3",
    ),
    (
        (b"Good.", "5.0", -3, "test", "nan"),
        "e12db618a38a3f0a4d9ac67d280b423530e515a4d227477cd166b6993272c648",
    ),
    (
        (b"Good.", "it's", 1, "train", 'the "best"'),
        "62be3296d19e23dfe1d257be3c75e8f76ad1c6bcd9fe3307eb4e030fc1800e83",
    ),
    (
        (b"Good.", 'it\'s "both"', 1, "train", "back\\slash"),
        "31d915a7cf4062a6379b4fe86fbf0e65cd69fdca65ba384d412bd5e2224fdd44",
    ),
    (
        (b"na\xc3\xafve caf\xc3\xa9", "tr\xe8s bon", None, "train", "\u6620\u753b"),
        "7a689a7a3310e419eb1d6a72752bfa99aecc472f2b3638e801f1782a2f433572",
    ),
    (
        (b"a\ttab\nline", "tab\t", 10, "train", "line\nfeed\rreturn"),
        "a95328ba0a7ab0df0388585427dcfccfd3fe2884c9b7b840a66797806f3f3487",
    ),
    (
        (b"Good.", "\x00\x1f\x7f\x85\xa0\xad", None, "train", "\u200b\u2028\ufeff"),
        "c5fa2170e23c56c88692c787be9e509c3ff9ddf008eac6c650671b5fe9094b61",
    ),
    (
        (b"Good.", "\U0001f600", None, "train", "\U000e0001\U0010ffff\U0001fa7c"),
        "63dc981fa0deb3f14a92ad03f4cd57d7f4f0328a77fa01958a02d16992e65468",
    ),
    (
        (b"Good.", "['pos', 9]", None, "train", '{"a": [1, null]}'),
        "123768ddbc4ac6e914618b4cd9b2ad3a05fc89c669f514edb6822c3ac3d2fa31",
    ),
    (
        (b"Good.", "", None, "train", " "),
        "9de30ef645cbe8435601690ca5159f1fe479ed02d0491450a443485f64d6cab4",
    ),
]
"""Reviews (text, label, stars, split, group) and their digests in lakes of the first release."""


@pytest.mark.parametrize(("review", "digest"), DIGESTS)
def test_digests_are_those_of_the_first_lakes(review: Review, digest: str) -> None:
    assert content_sha256(*review) == digest


def test_many_reviews_have_the_digests_of_each() -> None:
    columns = list(zip(*(review for review, _ in DIGESTS), strict=True))
    text, label, stars, split, group = map(pa.array, columns)
    found = content_digests(text, label, stars.cast(pa.int32()), split, group)
    assert hexadecimal(found).to_pylist() == [digest for _, digest in DIGESTS]


def test_columns_that_are_not_there_count_as_missing_values() -> None:
    review, digest = DIGESTS[1]
    found = content_digests(pa.array([review[0]] * 3), None, None, pa.nulls(3), None)
    assert hexadecimal(found).to_pylist() == [digest] * 3
    assert content_digests(pa.array([], pa.binary()), None, None, None, None).shape == (0, 32)


def test_the_bytes_are_those_that_the_documentation_gives() -> None:
    documented = b"Good.\x00['pos', 9, 'train', None]"
    assert content_sha256(b"Good.", "pos", 9, "train", None) == hashlib.sha256(documented).hexdigest()
    escaped = "Good.\0[\"it's\", -1, 'a\\'b\"\\\\\\n\\x7f\\u200b\\U000e0001é', None]".encode()
    assert (
        content_sha256(b"Good.", "it's", -1, "a'b\"\\\n\x7f\u200b\U000e0001é", None) == hashlib.sha256(escaped).hexdigest()
    )


@given(label=st.text(), group=st.text(alphabet="'\"\\ \n\ta\u00e9\u200b"))
def test_what_differs_has_another_digest(label: str, group: str) -> None:
    base = content_sha256(b"x", label, None, "train", group)
    assert base != content_sha256(b"x", label + "'", None, "train", group)
    assert base != content_sha256(b"x", label, None, "train", group + "\\")
    assert (base == content_sha256(b"x", group, None, "train", label)) == (label == group)


def test_the_list_of_unprintable_characters_is_that_of_unicode_14() -> None:
    listed = {code for first, last in unprintable() for code in range(first, last + 1)}
    ours = {code for code in range(sys.maxunicode + 1) if not chr(code).isprintable()}
    if unicodedata.unidata_version == "14.0.0":
        assert listed == ours
    else:  # later versions assign code points, and take none back
        assert ours <= listed
