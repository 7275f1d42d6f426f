"""A row that could not be read, in memory. Importable without pyarrow."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that could not be read, or a whole file (row -1). `reason` is one of `REASONS` or `FILE_REASONS` in
    `schemas.reject`."""

    source: str
    row: int
    reason: str
    detail: str
    excerpt: bytes = b""
    value: str = ""
    """The label that is at fault, where it is one, or the encoding that a text may have; for summaries, not stored."""
