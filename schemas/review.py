"""A raw review as the readers hand it on, before any tokenizing."""

import pyarrow as pa

from schemas.contract import Contract

SPLITS = ("train", "valid", "test", "unsup")
"""The splits that a review can belong to; `unsup` holds reviews without a label."""

REVIEW = Contract(
    name="review",
    version=1,
    description="A raw review in memory: what every reader yields. Not stored.",
    schema=pa.schema(
        [
            pa.field("review_id", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("stars", pa.int32()),
            pa.field("split", pa.string()),
            pa.field("group", pa.string()),
            pa.field("source", pa.string(), nullable=False),
            pa.field("row", pa.int64(), nullable=False),
            pa.field("content_sha256", pa.string(), nullable=False),
        ]
    ),
    columns={
        "review_id": "stable identity: source and row, or the id column",
        "text": "the review, UTF-8",
        "label": "the label as the source names it, null when unlabelled",
        "stars": "stars given, where the file name tells them (aclImdb: N_STARS.txt)",
        "split": f"one of {', '.join(SPLITS)}; null when the source does not tell",
        "group": "what must not be torn apart by a split, such as the film; null when unknown",
        "source": "path relative to the lake when inside it, else the URI; an archive's member after '!/'",
        "row": "row in the source, from 0",
        "content_sha256": "hex SHA-256 of text, label, stars, split and group; pipeline.lake.identity says of which bytes",
    },
)
