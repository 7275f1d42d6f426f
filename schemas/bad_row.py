"""A row that could not be read, in memory. Importable without pyarrow."""

from collections.abc import Mapping
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


CHOSEN = frozenset({"skipped_label"})
"""Reasons that an option names: such rows are counted, but nobody has to look at them."""


def num_chosen(reasons: Mapping[str, int]) -> int:
    """How many of these rejects, by reason, have a reason that an option names."""
    return sum(reasons.get(reason, 0) for reason in CHOSEN)
