"""The rule for values: what a label, split, group or id is, whichever format it came in.

Version 2: surrounding blanks go; an integral number is written as an integer (5.0, Decimal 5.00 and "5.0" are 5; "007"
stays); booleans are `true` and `false`; empty, blank or NaN is absent. Version 1 is that of lakes made before version 2.
"""

from collections.abc import Sequence
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.text.types import is_bytes, is_text

RULE_VERSION = 2
OPTION = "values"
"""Under this name a vocabulary's options hold the version of the rule; none there means 1."""

Strings = list[str | None]
INTEGRAL = r"^-?(0|[1-9][0-9]*)\.0*$"
BOOLEAN = r"^(?i:true|false)$"


def is_nested(kind: pa.DataType) -> bool:
    """Whether values of a type are lists, maps or structs."""
    return bool(pa.types.is_nested(kind))


def holds_text(kind: pa.DataType) -> bool:
    """Whether values of a type are strings or bytes."""
    return is_text(kind) or is_bytes(kind)


def plain(column: pa.Array) -> pa.Array:
    """A column without dictionary, views or run ends."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    return column


def values_of(column: pa.Array, rule: int) -> Strings:
    """A column of labels, splits, groups or ids as Python strings; what is not UTF-8 becomes lone surrogates.

    Args:
        column: (N,) of any type that is not nested.
        rule: version of the rule.
    """
    return [as_text(value) for value in column_of(column, rule).to_pylist()]


def column_of(column: pa.Array, rule: int) -> pa.BinaryArray:
    """The values of `values_of` as a column of bytes; what is not UTF-8 stays as it is."""
    column = plain(column)
    if rule == 1:
        return _encoded(_version_1(column))
    values = _version_2(column)
    return _encoded(values) if isinstance(values, list) else values.cast(pa.binary())


def constant(value: str | None, size: int) -> pa.BinaryArray:
    """(N,) the same value, as `column_of` gives it."""
    return pa.repeat(pa.scalar(None if value is None else as_bytes(value), pa.binary()), size)


def as_text(value: bytes | None) -> str | None:
    """A value of `column_of` as Python text."""
    return None if value is None else value.decode("utf-8", "surrogateescape")


def as_bytes(value: str) -> bytes:
    """The bytes of a value; those that are not UTF-8 are lone surrogates in it."""
    return value.encode("utf-8", "surrogateescape")


@lru_cache(maxsize=256)
def value_of(text: str | None, rule: int) -> str | None:
    """One value that stands outside of a table, such as a folder's name."""
    if rule == 1 or text is None:
        return text
    return _normal(text)


def of_floats(column: pa.Array) -> Strings:
    """Integral floats as integers, others in the shortest form that gives the same float of the column's own width; None for
    NaN.
    """
    texts = column.cast(pa.string()).to_pylist()
    values = column.cast(pa.float64()).to_pylist()
    return [
        None if value is None or value != value else str(int(value)) if value.is_integer() else text
        for value, text in zip(values, texts, strict=True)
    ]


def _version_2(column: pa.Array) -> Strings | pa.Array:
    """The values as a column of strings, or as a list where Arrow cannot write them."""
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    if isinstance(kind, pa.UuidType):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if pa.types.is_boolean(kind):
        return pc.if_else(column, "true", "false")
    if pa.types.is_floating(kind):
        return of_floats(column)
    if holds_text(kind):
        try:
            texts = column.cast(pa.large_binary()).cast(pa.large_string())
        except pa.ArrowInvalid:
            return [None if v is None else _normal(v.decode("utf-8", "surrogateescape")) for v in _raw(column)]
        return _normal_texts(texts)
    return _normal_texts(column.cast(pa.large_string()))


def _raw(column: pa.Array) -> list[bytes | None]:
    return list(column.cast(pa.large_binary()).to_pylist())


def _encoded(values: Strings) -> pa.BinaryArray:
    return pa.array([None if value is None else as_bytes(value) for value in values], pa.binary())


def _normal_texts(texts: pa.Array) -> pa.Array:
    texts = pc.utf8_trim_whitespace(texts)
    texts = pc.if_else(pc.equal(pc.utf8_length(texts), 0), None, texts)
    integral = pc.match_substring_regex(texts, INTEGRAL)
    if pc.any(integral).as_py():
        whole = pc.replace_substring_regex(texts, r"\.0*$", "")
        texts = pc.if_else(integral, pc.if_else(pc.equal(whole, "-0"), "0", whole), texts)
    boolean = pc.match_substring_regex(texts, BOOLEAN)
    if pc.any(boolean).as_py():
        texts = pc.if_else(boolean, pc.ascii_lower(texts), texts)
    return texts


def _normal(text: str) -> str | None:
    try:
        found = _normal_texts(pa.array([text], pa.large_string()))[0].as_py()
    except UnicodeEncodeError:
        return text.strip() or None
    return None if found is None else str(found)


def _version_1(column: pa.Array) -> Strings:
    if holds_text(column.type):
        return [as_text(value) for value in _raw(column)]
    if pa.types.is_temporal(column.type) and getattr(column.type, "unit", None) == "ns":
        return list(column.cast(pa.string()).to_pylist())  # Python's own types know no nanoseconds
    values: Sequence[object] = column.to_pylist()
    if pa.types.is_floating(column.type):
        return [None if v is None or v != v else str(int(v)) if v.is_integer() else str(v) for v in values]  # type: ignore[attr-defined, call-overload]
    if pa.types.is_boolean(column.type):
        return [None if v is None else str(int(v)) for v in values]  # type: ignore[call-overload]
    return [None if v is None else str(v) for v in values]
