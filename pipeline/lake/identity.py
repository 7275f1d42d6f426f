r"""When two reviews are the same: what a content digest is taken of, byte for byte.

A review's place (`review_id`) says which review it is; its content digest says whether it is unchanged. Digests are stored
in every lake, so what stands here never changes.

`content_sha256` is the hexadecimal SHA-256, in lower case, of these bytes:

1. the text, as it was read (UTF-8; nothing is normalised);
2. a byte 0, which no text holds;
3. `[LABEL, STARS, SPLIT, GROUP]` in UTF-8: four values between brackets, each followed by a comma and a blank but the last;
   of a review with a number for regression, five: `[LABEL, STARS, SPLIT, GROUP, TARGET]`.

A value is written

- as `None` if it is missing;
- as decimal digits, after `-` if negative, if it is a whole number (stars);
- as the shortest decimal that gives the same double, as Python's `repr` writes it (`7.0`, `1e-07`), if it is a target;
- else as a quoted string. The quotation mark is `'`, or `"` if the string contains `'` but no `"`. Inside, a backslash
  precedes each backslash and each quotation mark of the kind around it; tab, line feed and carriage return are
  `\t`, `\n`, `\r`; all other characters that are not printable (`lake.unprintable`) are given by their code point, in
  lower case hexadecimal: `\xNN` below 256, `\uNNNN` below 65,536, else `\UNNNNNNNN`. All others are unchanged.

So a review "Good." with the label pos, 9 stars, in the split train, without a group, is digested as

    Good.<byte 0>['pos', 9, 'train', None]

Groups from a separate file (`urls_*.txt` of aclImdb) count as none: in an archive, that file may follow the reviews.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake.unprintable import unprintable
from pipeline.text.columns import Digests, sha256_rows

Value = str | int | float | None
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def place_ids(sources: pa.Array | pa.ChunkedArray | str, rows: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """(N,) the ids of reviews in tables without a column of ids: the file and the row, from 0."""
    return pc.binary_join_element_wise(sources, pc.cast(rows, pa.string()), "#")


def content_sha256(
    text: bytes, label: str | None, stars: int | None, split: str | None, group: str | None, target: float | None = None
) -> str:
    """The digest of one review; see the module's text for what is digested."""
    return hashlib.sha256(
        text + _facts((label, stars, split, group, *(() if target is None else (float(target),))))
    ).hexdigest()


def content_digests(
    texts: pa.Array,
    labels: pa.Array | None,
    stars: pa.Int32Array | None,
    splits: pa.Array | None,
    groups: pa.Array | None,
    targets: pa.DoubleArray | None = None,
) -> Digests:
    """`content_sha256` of each of N reviews, as bytes. Equal facts of several reviews are written once.

    Args:
        texts: (N,) UTF-8 as string or binary, without nulls.
        labels, splits, groups: likewise; nulls are missing values, None is a column of them.
        stars: (N,) whole numbers.
        targets: (N,) numbers for regression; a review without one has four facts, as in a column of nulls.
    """
    which = np.zeros(len(texts), np.int64)
    written: list[tuple[Value, ...]] = [()]
    for column in (labels, stars, splits, groups):
        values, places = _distinct(column, len(texts))
        codes, which = np.unique(which * len(values) + places, return_inverse=True)
        written = [(*written[code // len(values)], values[code % len(values)]) for code in codes.tolist()]
    if targets is not None:
        values, places = _distinct(targets, len(texts))
        codes, which = np.unique(which * len(values) + places, return_inverse=True)
        numbers = [values[code % len(values)] for code in codes.tolist()]
        facts = [written[code // len(values)] for code in codes.tolist()]
        written = [(*four, *(() if one is None else (one,))) for four, one in zip(facts, numbers, strict=True)]
    return sha256_rows(texts, [_facts(facts) for facts in written], which.astype(np.int32))


def _distinct(column: pa.Array | None, size: int) -> tuple[list[Value], npt.NDArray[np.int64]]:
    """The distinct values of a column, and the (N,) place in them of each row's."""
    if column is None or not size:
        return [None], np.zeros(size, np.int64)
    encoded = column.dictionary_encode(null_encoding="encode")
    values = [value.decode() if isinstance(value, bytes) else value for value in encoded.dictionary.to_pylist()]
    return values, encoded.indices.to_numpy().astype(np.int64)


def _facts(values: Iterable[Value]) -> bytes:
    return b"\0[" + ", ".join(map(_literal, values)).encode() + b"]"


def _literal(value: Value) -> str:
    if value is None:
        return "None"
    if isinstance(value, int | float):
        return repr(value)
    if value.isascii() and value.isprintable() and "'" not in value and "\\" not in value:  # nothing to escape
        return f"'{value}'"
    mark = '"' if "'" in value and '"' not in value else "'"
    return mark + _to_escape(mark).sub(_escaped, value) + mark


@cache
def _to_escape(mark: str) -> re.Pattern[str]:
    ranges = "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in unprintable())
    return re.compile(f"[{mark}\\\\{ranges}]")


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if character in "\\'\"":
        return "\\" + character
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
