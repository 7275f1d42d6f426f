"""Soft targets: what a teacher answers to the rows of a token shard."""

import pyarrow as pa

from schemas.contract import Contract

KEY_TEACHER, KEY_SHARD = b"review_pipeline.teacher", b"review_pipeline.shard"
"""Metadata keys: the digest of the teacher, and the name of the shard."""

TARGETS = Contract(
    name="targets",
    version=1,
    description="A teacher's probabilities for a row of a token shard: .targets/<teacher>/<shard>.parquet, with the rows "
    "and row groups of the shard.",
    remedy="Delete it; the next training with this teacher writes it again.",
    schema=pa.schema([pa.field("probabilities", pa.list_(pa.field("element", pa.float32())))]),
    columns={
        "probabilities": "the probability of each label, in the order of the vocabulary's labels; null where no training "
        "has needed the row yet"
    },
)
