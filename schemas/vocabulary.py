"""A vocabulary file: immutable, named by its fingerprint."""

import pyarrow as pa

from schemas.contract import Contract
from schemas.tokenizers import TOKENIZERS

PAD, UNK = "<pad>", "<unk>"
SPECIALS = (PAD, UNK)
"""Special tokens; a token's place is its id: `<pad>` 0, `<unk>` 1."""
PAD_ID, UNK_ID = 0, 1

KEY_FINGERPRINT = b"review_pipeline.fingerprint"
KEY_TOKENIZER = b"review_pipeline.tokenizer"
KEY_LABELS = b"review_pipeline.labels"
KEY_OPTIONS = b"review_pipeline.options"

VOCABULARY = Contract(
    name="vocabulary",
    version=1,
    description=(
        f"A vocabulary, one token per row, in the order of the ids. Tokenizer ({', '.join(TOKENIZERS)}), options and labels "
        "are metadata."
    ),
    schema=pa.schema(
        [
            pa.field("id", pa.int32(), nullable=False),
            pa.field("token", pa.string(), nullable=False),
            pa.field("count", pa.int64(), nullable=False),
        ]
    ),
    columns={
        "id": "token id, from 0 without gaps",
        "token": "the token; rows 0 and 1 are <pad> and <unk>",
        "count": "occurrences in the splits train and unsup when the vocabulary was built; 0 for special tokens",
    },
)
