"""`pretrained.json` of a pretrained model: what it learned from text without labels, and what of it a training can take."""

from schemas.document import Document, Field
from schemas.model import MOST_INTEGER
from schemas.objectives import OBJECTIVES

PRETRAINED = Document(
    name="pretrained",
    noun="description of a pretrained model",
    version=1,
    description="pretrained.json of a pretrained model: one JSON object.",
    remedy="Restore the folder from a backup, or delete it and run 'pipeline pretrain' again.",
    fields=(
        Field(name="objective", type="string", description="what it was trained for", choices=OBJECTIVES),
        Field(
            name="arch",
            type="string",
            description="the architecture of a language model, null for word vectors",
            nullable=True,
        ),
        Field(name="model_config", type="object", description="the options of the architecture, and always embedding_dim"),
        Field(name="vocabulary", type="string", description="fingerprint of the vocabulary whose token IDs it knows"),
        Field(
            name="table_version",
            type="integer",
            description="version of the token table that was read, null for plain shards",
            nullable=True,
            minimum=0,
            maximum=MOST_INTEGER,
        ),
        Field(
            name="fold",
            type="string",
            description="the fold of the train split that was not read, such as 0/5; null if all were",
            nullable=True,
        ),
        Field(
            name="holdout",
            type="number",
            description="share of the groups that were not read, because 'pipeline train' tests on them; 0 for none",
            minimum=0,
            maximum=1,
        ),
        Field(name="metrics", type="object", description="reviews and tokens read, perplexity of a language model"),
        Field(name="training", type="object", description="the options and data that determined the weights"),
        Field(name="created", type="string", description="UTC, ISO 8601"),
        Field(name="weights_sha256", type="string", description="hex SHA-256 of pretrained.safetensors"),
    ),
)
