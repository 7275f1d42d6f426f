"""A raw review as the readers hand it on, before any tokenizing."""

import pyarrow as pa

from schemas.contract import Contract

SPLITS = ("train", "valid", "test", "unsup")
"""The splits; `unsup` is for unlabelled reviews."""

REVIEW = Contract(
    name="review",
    version=1,
    description="A raw review in memory, as yielded by every reader. Not stored.",
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
            pa.field("target", pa.float64()),
        ]
    ),
    columns={
        "review_id": "stable identity: source and row, or the id column",
        "text": "the review, UTF-8",
        "label": "the label as in the source, null if unlabelled",
        "stars": "star rating from the file name, if any (aclImdb: N_STARS.txt)",
        "split": f"one of {', '.join(SPLITS)}; null if the source does not specify it",
        "group": "group whose reviews stay in one split, such as the film; null if unknown",
        "source": "path relative to the lake when inside it, else the URI; an archive's member after '!/'",
        "row": "row in the source, from 0",
        "content_sha256": "hex SHA-256 of text, label, stars, split, group, target; see pipeline.lake.identity",
        "target": "the number in the column that --target-column names, null if there is none",
    },
)
