"""What could not be ingested, and why."""

from dataclasses import dataclass

import pyarrow as pa

from schemas.contract import Contract

EXCERPT_CHARACTERS = 200
"""Longest excerpt that a reject keeps, in characters."""

REASONS = {
    "missing_text": "the text is null",
    "empty_text": "the review holds no token after tokenizing",
    "invalid_utf8": "the text, or the id, label, split or group, is not valid UTF-8",
    "nul_byte": "the text holds NUL bytes, so it is binary data and no review",
    "malformed_row": "the row or line does not parse",
    "unknown_label": "the lake does not know the label; --rebuild-vocab would learn it",
    "unknown_split": "the split is none of train, valid, test, unsup",
    "duplicate_id": "another review of the same run has this id and other content",
    "missing_id": "the id column holds null",
    "link": "the member of an archive is a link and holds no text",
    "too_large": "the review is larger than the limit for one review",
}

REJECT = Contract(
    name="reject",
    version=1,
    description="A row that could not be ingested.",
    schema=pa.schema(
        [
            pa.field("source", pa.string(), nullable=False),
            pa.field("row", pa.int64(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
            pa.field("detail", pa.string(), nullable=False),
            pa.field("excerpt", pa.string(), nullable=False),
        ]
    ),
    columns={
        "source": "where the row stands",
        "row": "row in that source, from 0",
        "reason": f"one of {', '.join(REASONS)}",
        "detail": "what exactly was wrong",
        "excerpt": f"the beginning of the row, at most {EXCERPT_CHARACTERS} characters",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that could not be read. `reason` is one of `REASONS`."""

    source: str
    row: int
    reason: str
    detail: str
    excerpt: bytes = b""
