"""Rows and files that could not be ingested, with the reason."""

import pyarrow as pa

from schemas.bad_row import CHOSEN, BadRow, num_chosen
from schemas.contract import Contract

__all__ = ["CHOSEN", "FILE_REASONS", "REASONS", "REJECT", "SHAPE_REASONS", "WELL_FORMED", "BadRow", "num_chosen"]

EXCERPT_CHARACTERS = 200
"""Maximum length of a reject's excerpt, in characters."""

REASONS = {
    "missing_text": "the text is null",
    "empty_text": "the review has no tokens",
    "invalid_utf8": "the text, or the id, label, split or group, is not valid UTF-8",
    "nul_byte": "the text, or the id, label, split or group, contains NUL bytes, so it is binary data",
    "malformed_row": "the row or line cannot be parsed",
    "repeated_header": "the line repeats the header, as when files are concatenated",
    "unclosed_quote": "a quotation mark is never closed, or closed inside a field, and this line became part of it",
    "nested_value": "the label, id, group or split is a list or an object",
    "unknown_label": "the label is unknown to the lake; add it with --rebuild-vocab",
    "unmapped": "--label-map has no class for the value; --skip-labels leaves it out on purpose",
    "skipped_label": "--skip-labels leaves the label out",
    "unknown_split": "the split is not one of train, valid, test, unsup",
    "invalid_target": "the value in the column of --target-column is not a finite number",
    "duplicate_id": "an earlier review of the same run has the same id but different content",
    "missing_id": "the id is null",
    "link": "the archive member is a link, not a text",
    "too_large": "the review is larger than the limit for one review",
}

WELL_FORMED = frozenset(
    {"missing_text", "empty_text", "unknown_label", "unmapped", "skipped_label", "duplicate_id", "link", "repeated_header"}
)
"""Reasons that say nothing about the state of a file: they do not count for `--max-bad`."""

SHAPE_REASONS = frozenset({"malformed_row", "unclosed_quote"})
"""Reasons whose detail speaks of a row's shape and never quotes it."""

FILE_REASONS = {
    "unreadable": "the file cannot be opened: it is missing, not readable, or the disk failed",
    "damaged": "the file is truncated, damaged, or in a different format than its suffix says",
    "changed": "the file changed while being read",
    "column": "a column is missing, duplicated, or of an unsupported type",
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
        "source": "the file or archive member with the row",
        "row": "row in that source, from 0, without a header; -1 for a whole file",
        "reason": f"one of {', '.join(REASONS)}; for a whole file one of {', '.join(FILE_REASONS)}",
        "detail": "details of the fault",
        "excerpt": f"the beginning of the row, up to {EXCERPT_CHARACTERS} characters",
    },
)
