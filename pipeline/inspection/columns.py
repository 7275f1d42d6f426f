"""What a sample reveals about one column."""

import re
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.readers.values import RULE_VERSION, holds_text, is_nested, plain, values_of

MAX_COUNTED = 1000
"""Values are counted individually up to this number of distinct ones."""
MAX_VALUE = 100
"""Longer values, in characters, are not labels and are not counted individually."""
EXAMPLE = 200
"""Maximum number of characters kept of an example."""

BOOLEAN, INTEGER, NUMBER, TIME, TEXT, EMPTY = "boolean", "integer", "number", "time", "text", "empty"
_WRITTEN = {
    BOOLEAN: re.compile(r"true|false"),
    INTEGER: re.compile(r"[+-]?\d+"),
    NUMBER: re.compile(r"[+-]?\d*[.,]?\d+([eE][+-]?\d+)?"),
    TIME: re.compile(
        r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d\S*( ?[+-]\d\d:?\d\d| UTC)?)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}( \d\d:\d\d(:\d\d)?)?"
    ),
}
"""How values of a kind are written in a text table."""


@dataclass(kw_only=True)
class Column:
    """One column over all rows inspected.

    Args:
        kinds: kinds of value, by the files' types or the values themselves.
        rows: rows that have the column.
        present: rows in which it is not empty.
        distinct: hashes of the distinct values.
        counts: the count of each value; None if there are too many or too long ones.
        characters: total number of characters.
        codes: values for machines: ASCII without a blank, such as addresses and hashes, or JSON lists and objects.
        files: number of files that have it.
    """

    name: str
    kinds: set[str] = field(default_factory=set)
    rows: int = 0
    present: int = 0
    distinct: set[int] = field(default_factory=set)
    counts: Counter[str] | None = field(default_factory=Counter)
    characters: int = 0
    codes: int = 0
    files: int = 1
    example: str = ""

    @property
    def kind(self) -> str:
        """The common kind of all values."""
        kinds = self.kinds - {EMPTY}
        if kinds <= {INTEGER, NUMBER} and kinds:
            return NUMBER if NUMBER in kinds else INTEGER
        return (kinds.pop() if len(kinds) == 1 else TEXT) if kinds else EMPTY

    @property
    def empty_share(self) -> float:
        """Share of empty rows."""
        return 1 - self.present / self.rows if self.rows else 0.0

    @property
    def mean_length(self) -> float:
        """Mean length of values, in characters."""
        return self.characters / self.present if self.present else 0.0

    @property
    def is_unique(self) -> bool:
        """Whether every row has a distinct value."""
        return 0 < self.rows == len(self.distinct)

    @property
    def values(self) -> tuple[str, ...]:
        """Its distinct values, most frequent first; none if there are too many."""
        return tuple(value for value, _ in (self.counts or Counter()).most_common())

    def take(self, array: pa.Array, *, written: bool) -> None:
        """Counts the values of some rows.

        Args:
            written: whether they are cells of a text table, whose kind is recognised by their spelling.
        """
        self.rows += len(array)
        array = plain(array)
        if is_nested(array.type):
            self.kinds.add("object" if pa.types.is_struct(array.type) else "list")
            self.present += len(array) - array.null_count
            return
        try:
            values = [value for value in values_of(array, RULE_VERSION) if value is not None]
        except pa.ArrowException:  # a type without a text form
            self.kinds.add(str(array.type))
            return
        self.kinds.add(_kind_of(array.type, values) if not written else _written_kind(values))
        self.present += len(values)
        self.characters += sum(map(len, values))
        self.codes += sum(map(_is_code, values))
        self.distinct.update(map(hash, values))
        self._count(values)
        if values and not self.example:
            self.example = values[0][:EXAMPLE]

    def merge(self, other: "Column") -> None:
        """Adds the column's values in another file."""
        self.kinds |= other.kinds
        self.rows += other.rows
        self.present += other.present
        self.characters += other.characters
        self.codes += other.codes
        self.distinct |= other.distinct
        self.files += other.files
        self.example = self.example or other.example
        if self.counts is not None and other.counts is not None:
            self.counts.update(other.counts)
        self._bound(other.counts is not None)

    def _count(self, values: list[str]) -> None:
        if self.counts is not None:
            self.counts.update(values)
            self._bound(max(map(len, values), default=0) <= MAX_VALUE)

    def _bound(self, short: bool) -> None:
        if not short or len(self.counts or ()) > MAX_COUNTED:
            self.counts = None


def _is_code(value: str) -> bool:
    return (value.isascii() and len(value.split()) == 1) or (value[0], value[-1]) in (("[", "]"), ("{", "}"))


def _kind_of(kind: pa.DataType, values: list[str]) -> str:
    types = pa.types
    if holds_text(kind) and values and all(map(_WRITTEN[TIME].fullmatch, values)):
        return TIME  # JSON has no type for it
    tests = {
        EMPTY: types.is_null,
        BOOLEAN: types.is_boolean,
        INTEGER: types.is_integer,
        NUMBER: lambda kind: types.is_floating(kind) or types.is_decimal(kind),
        TIME: types.is_temporal,
        TEXT: holds_text,
    }
    return next((name for name, test in tests.items() if test(kind)), str(kind))


def _written_kind(values: list[str]) -> str:
    if not values:
        return EMPTY
    return next((kind for kind, form in _WRITTEN.items() if all(map(form.fullmatch, values))), TEXT)
