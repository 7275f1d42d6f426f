"""Limits on the memory that input can claim, so that no file, however small, exhausts it.

Every limit is an option of the commands that read (`pipeline.config.bounds`). Input that exceeds one is refused with a
message that gives the option.
"""

import re
from dataclasses import dataclass

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_UNITS = {"": 1, "b": 1, "kib": KIB, "mib": MIB, "gib": GIB, "kb": 10**3, "mb": 10**6, "gb": 10**9}

CSV_ROW_BYTES = 4 * MIB
"""A quotation mark that is not closed within this many bytes is considered stray."""
ROW_BYTES = 8 * MIB
"""Parsing a JSON object such as `[[],[],…]` takes up to 30 times its size."""
RATIO_FLOOR_BYTES = 64 * MIB
"""Smaller files may have any compression ratio: they are cheap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds in bytes. A row of 0 means the format's own: `CSV_ROW_BYTES` or `ROW_BYTES`.

    Args:
        row: a line of a text file, a record of CSV, a JSON object, a row of Parquet or Arrow.
        value: the text of one review.
        batch: texts read before they are passed to a worker; may be exceeded by one text.
        name: the name of an archive's member, including its extended header.
        films: a film list.
        page: a page of a Parquet file, decompressed; DuckDB writes some of 100 MB. Row groups are read page by page, so
            their size does not matter.
        ratio: compression ratio of files that decompress to more than `RATIO_FLOOR_BYTES`.
        columns: columns of a table; for JSON, distinct names over all objects.
    """

    row: int = 0
    value: int = MIB
    batch: int = 4 * MIB
    name: int = MIB
    films: int = 16 * MIB
    page: int = 256 * MIB
    ratio: int = 250
    columns: int = 10_000

    @property
    def csv_row(self) -> int:
        """The bound for a record of CSV."""
        return self.row or CSV_ROW_BYTES

    @property
    def other_row(self) -> int:
        """The bound for a row of any other format."""
        return self.row or ROW_BYTES


DEFAULT_BOUNDS = Bounds()


def size_of(text: str | int) -> int:
    """Bytes from `16MiB`, `64 KiB`, `1GB` or a number.

    Raises:
        ValueError: something else.
    """
    match = re.fullmatch(r"(\d+) ?([a-z]*)", str(text).strip().lower())
    if match is None or match[2] not in _UNITS:
        raise ValueError("expected a size such as 16MiB, 64KiB or a number of bytes.")
    return int(match[1]) * _UNITS[match[2]]


def in_units(size: int) -> str:
    """A size as `size_of` reads it, in the largest unit that keeps it whole: 16777216 is `16MiB`."""
    for unit, number in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size and size % number == 0:
            return f"{size // number}{unit}"
    return str(size)


def beyond(what: str, option: str, allowed: int, remedy: str = "") -> str:
    """The message for something that exceeds its limit: what, which option, what to do.

    Args:
        what: such as `line 7` or `a member's name`.
        remedy: what else to do.
    """
    remedy = remedy or "Fix the file"
    return f"{what} is larger than {in_units(allowed)}, the limit of {option}. {remedy}, or raise the limit"
