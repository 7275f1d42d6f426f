"""`model.json` of a bundle: what is needed to rebuild a model and to feed it, and what is known of it."""

from schemas.document import Document, Field
from schemas.limits import MAX_LENGTH

MOST_INTEGER = 2**63 - 1

MODEL = Document(
    name="model",
    noun="model description",
    version=1,
    description="model.json of a bundle: one JSON object.",
    remedy="Restore the folder from a backup, or delete it and train again.",
    fields=(
        Field(name="arch", type="string", description="the architecture, a name of 'pipeline models --archs'"),
        Field(name="model_config", type="object", description="the options of the architecture"),
        Field(
            name="parameters",
            type="integer",
            description="trained numbers",
            optional=True,
            nullable=True,
            minimum=0,
            maximum=MOST_INTEGER,
        ),
        Field(name="labels", type="strings", description="the labels in the order of their ids"),
        Field(name="tokenizer", type="string", description="the tokenizer of the vocabulary"),
        Field(
            name="max_length",
            type="integer",
            description="maximum number of tokens read per review",
            minimum=1,
            maximum=MAX_LENGTH,
        ),
        Field(name="vocabulary", type="string", description="fingerprint of the vocabulary in vocabulary.parquet"),
        Field(
            name="table_version",
            type="integer",
            description="version of the token table used for training, null for plain shards",
            nullable=True,
            minimum=0,
            maximum=MOST_INTEGER,
        ),
        Field(name="metrics", type="object", description="metrics measured after training"),
        Field(
            name="training",
            type="object",
            description="the options and data that determined the weights",
            fields=(
                Field(
                    name="valid_fraction",
                    type="number",
                    description="share of the training split held out for validation",
                    optional=True,
                    minimum=0,
                    maximum=1,
                    exclusive=True,
                ),
                Field(
                    name="holdout",
                    type="number",
                    description="share of the training split's groups held out as the test part; absent without one",
                    optional=True,
                    minimum=0,
                    maximum=1,
                    exclusive=True,
                ),
            ),
        ),
        Field(name="created", type="string", description="UTC, ISO 8601"),
        Field(name="weights_sha256", type="string", description="hex SHA-256 of model.safetensors"),
        Field(
            name="blend",
            type="object",
            description="parts combined with the architecture: a linear part, scales; empty if none",
            optional=True,
        ),
        Field(
            name="task",
            type="object",
            description="what the model has learned, if not labels: regression, the column, how outputs become numbers",
            optional=True,
            fields=(Field(name="name", type="string", description="name of the task"),),
        ),
        Field(
            name="judged",
            type="boolean",
            description="whether models/decisions.jsonl has, or is to have, a line about the model",
            optional=True,
        ),
        Field(
            name="manifest",
            type="string",
            description="name of the file with the sizes and digests of the bundle's files",
            optional=True,
            nullable=True,
        ),
    ),
)
