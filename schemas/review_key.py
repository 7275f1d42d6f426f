"""Lists of reviews by digest: what a run brought, and what may not come back. No id, no text, no place in clear."""

import pyarrow as pa

from schemas.contract import Contract

KEY_RUN = b"review_pipeline.run_id"
"""Metadata key of a list: the run that it is about."""
STANDS_FOR = "stands_for"
REVIEW_KEY = Contract(
    name="review-key",
    version=1,
    description="A review by digests: rows brought by a run (runs/<run_id>.rows.parquet), retracted rows "
    "(retracted/<run_id>.parquet), erased reviews (erased/<run_id>.parquet).",
    remedy="Restore it from a backup, or delete it; its reviews then come in again.",
    schema=pa.schema(
        [
            pa.field("review", pa.uint64(), nullable=False),
            pa.field("content", pa.uint64()),
            pa.field("source", pa.uint64()),
            pa.field("replaced", pa.bool_()),
            pa.field(STANDS_FOR, pa.uint64()),
        ]
    ),
    columns={
        "review": "the first 64 bits of the SHA-256 of review_id",
        "content": "the first 64 bits of content_sha256; null: the review whatever its content, "
        "or, with a source, the place alone: a row of a file, of which no reject quotes anything",
        "source": "the first 64 bits of the SHA-256 of source; null if unknown",
        "replaced": "whether the row replaced another one of the same review_id; null if unknown",
        STANDS_FOR: "the content of the row in whose place a retracted one stands in its file, and which is in the table "
        "again; null: of none",
    },
    optional=frozenset({STANDS_FOR}),
)
