"""Batches of raw reviews as the readers hand them on: bytes, not yet checked."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.text.types import is_bytes, is_text
from schemas.reject import BadRow

BATCH_ROWS = 1024
BATCH_BYTES = 8 << 20
"""A batch ends after so many rows or bytes of text, whichever comes first; neither depends on the workers."""
MAX_REVIEW_BYTES = 1 << 20
"""A longer text is no review: it is rejected as too large, which bounds the memory that a batch can take."""
EXCERPT_BYTES = 800
"""As much of a bad row is kept; the reject's excerpt is cut from it."""


@dataclass(slots=True, kw_only=True)
class RawBatch:
    """Rows of one or several sources; columns are of equal length, or None where the source has none."""

    source: list[str]
    row: list[int]
    text: pa.BinaryArray
    review_id: list[str | None]
    label: list[str | None] | None = None
    stars: list[int | None] | None = None
    split: list[str | None] | None = None
    group: list[str | None] | None = None
    bad: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFiles:
    """Names of `.txt` files of one folder, to be opened by whoever works on the batch. `name` is the folder's."""

    folder: Path
    name: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Groups of the reviews of one folder: line N, a string in a dictionary, is the group of review N."""

    folder: str
    lines: pa.DictionaryArray


Item = RawBatch | TextFiles | Groups
"""What flows out of the readers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of tables hold what; None where there is none. A source may lack the `optional` ones."""

    text: str = "text"
    label: str | None = None
    id: str | None = None
    group: str | None = None
    split: str | None = None
    optional: tuple[str, ...] = ()

    def items(self) -> list[tuple[str, str]]:
        """Pairs of role and column."""
        roles = ("text", "label", "id", "group", "split")
        return [(role, getattr(self, role)) for role in roles if getattr(self, role) is not None]

    def names(self) -> list[str]:
        """The columns that have to be read."""
        return list(dict.fromkeys(name for _, name in self.items()))

    def without(self, missing: set[str]) -> "Columns":
        """The same without the columns that are missing."""
        gone: dict[str, Any] = {role: None for role, name in self.items() if name in missing}
        return replace(self, **gone)


def opened(path: str | Path, compression: str | None) -> pa.NativeFile:
    """A file to be read as a stream, decompressed. Arrow takes names that are not UTF-8 only as bytes."""
    return pa.input_stream(pa.OSFile(os.fsencode(path)), compression=compression)


def holds_text(kind: pa.DataType) -> bool:
    """Whether values of a type are strings or bytes."""
    return is_text(kind) or is_bytes(kind)


def strings(column: pa.Array | None) -> list[str | None] | None:
    """A column as Python strings, whatever its type; None stays None. What is not UTF-8 becomes lone surrogates."""
    if column is None:
        return None
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if holds_text(column.type):
        texts = column.cast(pa.large_binary()).to_pylist()
        return [None if v is None else v.decode("utf-8", "surrogateescape") for v in texts]
    if pa.types.is_temporal(column.type) and getattr(column.type, "unit", None) == "ns":
        return list(column.cast(pa.string()).to_pylist())  # Python's own types know no nanoseconds
    if pa.types.is_floating(column.type):
        # A label column with a null is often float in Parquet files that pandas wrote: 1.0 is label 1.
        values = column.to_pylist()
        return [None if v is None or v != v else str(int(v)) if float(v).is_integer() else str(v) for v in values]
    if pa.types.is_boolean(column.type):
        return [None if v is None else str(int(v)) for v in column.to_pylist()]
    return [None if v is None else str(v) for v in column.to_pylist()]
