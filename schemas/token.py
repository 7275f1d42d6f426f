"""A tokenized review: one row of `tokens/`."""

import pyarrow as pa

from schemas.contract import Contract

KEY_VOCABULARY = b"review_pipeline.vocabulary"
"""Metadata key of a shard: the fingerprint of the vocabulary that its ids belong to."""
KEY_TOKENS, KEY_UNKNOWN = b"review_pipeline.tokens", b"review_pipeline.unknown_tokens"
"""Metadata keys of a shard: its number of tokens, and of those that are `<unk>`. Absent in shards of earlier releases."""

TARGET = "target"

TOKEN = Contract(
    name="token",
    version=1,
    description="A tokenized review: a row of the Delta table tokens/. Each shard contains a single split.",
    schema=pa.schema(
        [
            pa.field("review_id", pa.string()),
            pa.field("ids", pa.list_(pa.field("element", pa.int32()))),
            pa.field("label", pa.int32()),
            pa.field("stars", pa.int32()),
            pa.field("split", pa.string()),
            pa.field("group", pa.string()),
            pa.field("source", pa.string()),
            pa.field("row", pa.int64()),
            pa.field("content_sha256", pa.string()),
            pa.field(TARGET, pa.float64()),
        ]
    ),
    optional=frozenset({TARGET}),
    columns={
        "review_id": "stable identity of the review",
        "ids": "token ids in the vocabulary given in the shard's metadata; <pad> 0, <unk> 1",
        "label": "index into the vocabulary's labels, null if unlabelled",
        "stars": "star rating, if the source has one",
        "split": "train, valid, test or unsup",
        "group": "group whose reviews stay in one split, such as the film; null if unknown",
        "source": "source of the review",
        "row": "row in that source, from 0",
        "content_sha256": "as in the review contract; new content at the same position replaces the row",
        TARGET: "number for regression, from --target-column; shards in which no review has one lack the column",
    },
)


WITHOUT_TARGET = pa.schema([field for field in TOKEN.schema if field.name != TARGET])
"""The columns of a shard in which no review has a number."""


def token_metadata(vocabulary: str) -> dict[bytes, bytes]:
    """Metadata of a token shard: contract, version and the vocabulary's fingerprint."""
    return {**TOKEN.metadata, KEY_VOCABULARY: vocabulary.encode()}
