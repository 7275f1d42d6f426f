"""What could not be ingested, and why."""

import pyarrow as pa

from schemas.bad_row import BadRow
from schemas.contract import Contract

__all__ = ["FILE_REASONS", "REASONS", "REJECT", "WELL_FORMED", "BadRow"]

EXCERPT_CHARACTERS = 200
"""Longest excerpt that a reject keeps, in characters."""

REASONS = {
    "missing_text": "the text is null",
    "empty_text": "the review holds no token after tokenizing",
    "invalid_utf8": "the text, or the id, label, split or group, is not valid UTF-8",
    "nul_byte": "the text, or the id, label, split or group, holds NUL bytes, so it is binary data",
    "malformed_row": "the row or line does not parse",
    "repeated_header": "the line repeats the header, as where tables were joined into one file",
    "unclosed_quote": "a quotation mark is never closed, or closed inside a field, and swallowed the line",
    "nested_value": "the label, id, group or split is a list or an object",
    "unknown_label": "the lake does not know the label; --rebuild-vocab would learn it",
    "unmapped": "--label-map names no label for the value",
    "unknown_split": "the split is none of train, valid, test, unsup",
    "duplicate_id": "another review of the same run has this id and other content",
    "missing_id": "the id column holds null",
    "link": "the member of an archive is a link and holds no text",
    "too_large": "the review is larger than the limit for one review",
}

WELL_FORMED = frozenset(
    {"missing_text", "empty_text", "unknown_label", "unmapped", "duplicate_id", "link", "repeated_header"}
)
"""Reasons that say nothing about the state of a file: they do not count for `--max-bad`."""

FILE_REASONS = {
    "unreadable": "the file cannot be opened: it is not there any longer, its permissions, or the disk",
    "damaged": "the file is cut short, damaged, or of another format than its name says",
    "changed": "the file changed while it was read",
    "column": "the file lacks a column, has it twice, or the column is of a type that cannot be read",
    "too_large": "a line or a value is larger than the limit",
}
"""Reasons for which a whole file is left out; its reject has row -1."""

REJECT = Contract(
    name="reject",
    version=1,
    description="A row that could not be ingested, or a whole file (row -1).",
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
        "row": "row in that source, from 0; -1 for a whole file",
        "reason": f"one of {', '.join(REASONS)}; for a whole file one of {', '.join(FILE_REASONS)}",
        "detail": "what exactly was wrong",
        "excerpt": f"the beginning of the row, at most {EXCERPT_CHARACTERS} characters",
    },
)
