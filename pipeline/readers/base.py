"""The interface of readers: a source in, rows and faults out."""

import codecs
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.errors import DataError, UsageError
from pipeline.readers.bounds import DEFAULT_BOUNDS, Bounds
from schemas.bad_row import BadRow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from pipeline.readers.dialect import Sniffed

INSIDE = "!/"
"""Between an archive's name and a member's."""
EXCERPT_BYTES = 800
"""As much of a bad row is kept; the reject's excerpt is cut from it."""
BATCH_ROWS = 2000
"""Maximum rows per batch; `Bounds.batch` also limits its bytes. Neither depends on the number of workers. Each distinct word
of a batch is looked up and counted once, so larger batches are faster."""


class Stamp(NamedTuple):
    """What changes when a file is written to: its identity, size in bytes and modification time in nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file, or all the `.txt` files of one folder (`files`).

    `name` is its name in the lake, `format` a name of the registry, `partitions` the values of `key=value` folders above it
    (Hive layout; None for Hive's null). `stamp` is the stamp of the file when it was found. `remote` is the stamp of the
    object that the file is a copy of, or a digest over those of several; empty for a local file.
    """

    path: Path
    name: str
    format: str
    compression: str | None = None
    partitions: tuple[tuple[str, str | None], ...] = ()
    stamp: Stamp | None = None
    remote: str = ""
    listing: str = field(default="", repr=False)
    """The file names, separated by slashes: a fifth of the memory of a million strings."""

    @property
    def num_files(self) -> int:
        """How many files it has: those of `files`, or itself."""
        return self.listing.count("/") + 1

    @property
    def files(self) -> list[str]:
        """Names of the `.txt` files of the folder, sorted."""
        return self.listing.split("/") if self.listing else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a table of text is written. None: sniffed from the file's beginning. `quote` "" means that nothing is quoted, and
    `escape` "" that quotation marks inside fields are doubled."""

    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None
    escape: str | None = None

    @classmethod
    def checked(cls, delimiter: str | None, quote: str | None, encoding: str | None, escape: str | None = None) -> "Dialect":
        """A dialect as people write it: `tab` for the delimiter, `none` for no quoting or no escapes.

        Raises:
            UsageError: not one character, or an encoding that Python does not know.
        """
        delimiter = {"tab": "\t", "\\t": "\t", "space": " "}.get(delimiter or "", delimiter)
        quote, escape = ("" if value == "none" else value for value in (quote, escape))
        characters = {"--delimiter": delimiter, "--quote": quote or None, "--escape": escape or None}
        for option, value in characters.items():
            if value is not None and (len(value) != 1 or not value.isascii() or value in "\r\n\0"):
                words = "'tab'" if option == "--delimiter" else "'none'"
                raise UsageError(f"{option} {value!r}: expected one ASCII character, or {words}.")
        given = {option: value for option, value in characters.items() if value is not None}
        for first, second in itertools.combinations(given, 2):
            if given[first] == given[second]:
                raise UsageError(f"{first} and {second} are both {given[first]!r}. Use two different characters.")
        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except LookupError:
                raise UsageError(
                    f"--encoding {encoding}: unknown encoding. Use one such as utf-8, cp1252 or utf-16."
                ) from None
        return cls(delimiter=delimiter, quote=quote, encoding=encoding, escape=escape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What to take from a table.

    Args:
        columns: columns to read, a field of a struct or JSON object as `review.body`; None for all.
        text: those of `columns` that must contain text.
        label: the label's column; its values help to distinguish rows swallowed by a stray quotation mark from lines of
            a review.
        keep_nested: keep lists and objects unchanged (Parquet, Arrow) or as JSON text (JSON); otherwise, they are
            faults.
        json_text: `columns` of JSON are members of the objects, each value its own JSON text, null where an object lacks
            it; `text` is checked but not among the columns unless named there.
        rule: version of the rule for values that numbers of JSON are read by; None for the current one.
        bounds: limits on the size of rows and values.
    """

    columns: tuple[str, ...] | None = None
    text: tuple[str, ...] = ()
    label: str | None = None
    dialect: Dialect = Dialect()
    keep_nested: bool = False
    json_text: bool = False
    rule: int | None = None
    bounds: Bounds = DEFAULT_BOUNDS


@dataclass(slots=True, kw_only=True)
class Rows:
    """Consecutive rows of one source.

    Args:
        table: (N,) rows. Columns of CSV are binary, not yet checked to be UTF-8; others have their own types.
        row: (N,) int64, the index of each row in the source, from 0; missing numbers are those of `bad`.
        bad: the faulty rows found since the last `Rows`.
    """

    table: "pa.RecordBatch"
    row: "npt.NDArray[np.int64]"
    bad: list[BadRow] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Format:
    """An input format. Tables have `read` and `schema`; formats of whole reviews have `reviews`.

    Args:
        name: as in `--format`.
        suffixes: lower case, with their dots.
        summary: a few words for help and docs.
        compressible: may also be `.gz`, `.zst` or `.bz2`.
        open_schema: columns may appear in any row, so the schema only covers the beginning of the file.
        text_column: the only column, if the format has no column names; column options do not apply to it.
        text_cells: columns have no types of their own; they are bytes, expected to be UTF-8.
        read: rows of a source, streamed. Raises FileFault.
        schema: names and types of a source's columns, from its beginning; binary for CSV. Raises FileFault.
        all_columns: those of an open schema, found by reading all of the source. Raises FileFault.
        sniff: detects the dialect of a text table; None for formats without dialects. Raises FileFault.
        reviews: batches of whole reviews (`pipeline.readers.reviews.Item`), streamed. Raises FileFault.
    """

    name: str
    suffixes: tuple[str, ...]
    summary: str
    compressible: bool = True
    open_schema: bool = False
    text_column: str | None = None
    text_cells: bool = False
    read: Callable[[Source, Reading], Iterator[Rows]] | None = None
    schema: Callable[[Source, Reading], "pa.Schema"] | None = None
    all_columns: Callable[[Source, Reading], "pa.Schema"] | None = None
    sniff: Callable[[Source, Reading], "Sniffed"] | None = None
    reviews: Callable[[Source, Reading], Iterator[Any]] | None = None


def check_columns(source: Source, number: int, bounds: Bounds) -> None:
    """Raises `FileFault` where a table has more columns than are allowed: each costs kilobytes while it is read."""
    if number > bounds.columns:
        detail = (
            f"{number:,} columns exceed {bounds.columns:,}, the limit of --max-columns. Raise the limit, or fix the file"
        )
        raise FileFault(source.name, "too_large", detail)


class FileFault(DataError):
    """A file that cannot be read completely. It is skipped, or ends the run if it is the only one.

    Args:
        place: the file's name in the lake.
        reason: one of `schemas.reject.FILE_REASONS`.
        detail: what is wrong and what to do.
    """

    def __init__(self, place: str, reason: str, detail: str) -> None:
        super().__init__(f"{place}: {detail}")
        self.place, self.reason, self.detail = place, reason, detail

    def __reduce__(self) -> tuple[type["FileFault"], tuple[str, str, str]]:
        return type(self), (self.place, self.reason, self.detail)

    @property
    def brief(self) -> str:
        """The file and the reason in words; a detail may quote the header of a table, which may be a review."""
        from schemas.reject import FILE_REASONS

        return f"{self.place}: {FILE_REASONS[self.reason]}"
