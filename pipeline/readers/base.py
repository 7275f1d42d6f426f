"""What every reader takes and gives: a source in, rows and faults out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError
from schemas.reject import BadRow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

INSIDE = "!/"
"""Between an archive's name and a member's."""
EXCERPT_BYTES = 800
"""As much of a bad row is kept; the reject's excerpt is cut from it."""
BATCH_ROWS = 1024
BATCH_BYTES = 8 << 20
"""A batch ends after so many rows or bytes of text, whichever comes first; neither depends on the workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file, or all the `.txt` files of one folder (`files`).

    `name` is how the lake calls it, `format` a name of the registry, `partitions` what the folders `key=value` above it
    tell (Hive's layout; None where the value is Hive's null).
    """

    path: Path
    name: str
    format: str
    compression: str | None = None
    partitions: tuple[tuple[str, str | None], ...] = ()
    listing: str = field(default="", repr=False)
    """The names of the files with slashes between them: a fifth of what a million strings take."""

    @property
    def files(self) -> list[str]:
        """Names of the `.txt` files of the folder, sorted."""
        return self.listing.split("/") if self.listing else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a table of text is written. None: sniffed from the file's beginning. `quote` "" means that nothing is quoted."""

    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What to take from a table.

    Args:
        columns: columns to read, a field of a struct or JSON object as `review.body`; None for all.
        text: those of `columns` that have to hold text.
        label: the label's column: its values help to tell a row that a stray quotation mark swallowed from a line of a
            review.
        keep_nested: values that are lists or objects are kept as they are (Parquet, Arrow) or as JSON text (JSON);
            otherwise they are faults.
    """

    columns: tuple[str, ...] | None = None
    text: tuple[str, ...] = ()
    label: str | None = None
    dialect: Dialect = Dialect()
    keep_nested: bool = False


@dataclass(slots=True, kw_only=True)
class Rows:
    """Consecutive rows of one source.

    Args:
        table: (N,) rows. Columns of CSV are binary, not yet checked to be UTF-8; others have their own types.
        row: (N,) int64, where each row stands in the source, from 0; the numbers that are missing are those of `bad`.
        bad: the faulty rows that were found since the last `Rows`.
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
        read: rows of a source, streamed. Raises FileFault.
        schema: names and types of a source's columns, from its beginning; binary for CSV. Raises FileFault.
        reviews: batches of whole reviews (`pipeline.readers.reviews.Item`), streamed. Raises FileFault.
    """

    name: str
    suffixes: tuple[str, ...]
    summary: str
    compressible: bool = True
    read: Callable[[Source, Reading], Iterator[Rows]] | None = None
    schema: Callable[[Source, Reading], "pa.Schema"] | None = None
    reviews: Callable[[Source], Iterator[Any]] | None = None


class FileFault(DataError):
    """A file that cannot be read whole. It is left out whole, or ends the run where it is the only one.

    Args:
        place: how the lake names the file.
        reason: one of `schemas.reject.FILE_REASONS`.
        detail: what is wrong with it and what to do.
    """

    def __init__(self, place: str, reason: str, detail: str) -> None:
        super().__init__(f"{place}: {detail}")
        self.place, self.reason, self.detail = place, reason, detail
