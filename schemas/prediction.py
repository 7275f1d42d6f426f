"""What `pipeline score` adds to the columns of its input."""

from dataclasses import replace

import pyarrow as pa

from schemas.contract import KEY_NAME, KEY_VERSION, Contract

KEY_MODEL = b"review_pipeline.model_id"
KEY_MODEL_CONTENT = b"review_pipeline.model_content"
"""A digest of the model itself: a bundle outside the lake may be replaced by another one of the same name."""
KEY_LABELS = b"review_pipeline.labels"
KEY_INPUT = b"review_pipeline.input_sha256"
KEY_SOURCE = b"review_pipeline.source"
KEY_OPTIONS = b"review_pipeline.score_options"
CLASS_PREFIX = "probability_"
"""A column for each class: this prefix and the label."""
MAX_CLASS_COLUMNS = 20
"""With more classes than this, their probabilities are in one list column."""
CLASSES = pa.field("probabilities", pa.list_(pa.field("element", pa.float32())))
"""With many classes: the probability of each, in the order of the labels in the metadata (`KEY_LABELS`, a JSON list)."""

NO_TEXT, NO_KNOWN_TOKEN, ABSTAINED = "no_text", "no_known_token", "abstained"
UNSCORED = {
    NO_TEXT: "the text is null, empty, white space, or not valid UTF-8",
    NO_KNOWN_TOKEN: "no token of the text is in the model's vocabulary",
    ABSTAINED: "the probability is below --abstain-below; class probabilities are kept",
}
"""Why a row has no prediction."""

EXPLAINED_TOKENS = 10
"""Longest explanation, in tokens."""
EXPLANATION = pa.field(
    "explanation",
    pa.list_(
        pa.field(
            "element",
            pa.struct([pa.field("token", pa.string()), pa.field("position", pa.int32()), pa.field("weight", pa.float32())]),
        )
    ),
)
"""With --explain: the tokens that weigh most, the heaviest first; `position` counts the review's tokens from 0. Attention
weights where the model has them, else integrated gradients of the predicted label, or of the predicted number in standard
deviations of the training part: those below 0 speak against the label, or for a lower number."""

VALUE = "predicted_value"
"""The prediction of a regression model."""

PREDICTION = Contract(
    name="prediction",
    version=2,
    readable=(1,),
    remedy="Score its input again with --force.",
    description="A scored review: the input's columns, then these. A probability_<label> column for each class follows "
    f"probability; with more than {MAX_CLASS_COLUMNS} classes, one list column, probabilities. With --explain, an "
    "explanation column comes last. Regression has predicted_value in place of prediction and all probabilities.",
    optional=frozenset({"prediction", "probability", VALUE}),
    schema=pa.schema(
        [
            pa.field("prediction", pa.string()),
            pa.field("probability", pa.float32()),
            pa.field(VALUE, pa.float32()),
            pa.field("model_id", pa.string(), nullable=False),
            pa.field("unscored_reason", pa.string()),
        ]
    ),
    columns={
        "prediction": "the most probable label, or null; see unscored_reason",
        "probability": "probability of the prediction",
        VALUE: "regression: the predicted number, within the range of the training part; null where there is no prediction",
        "model_id": "the model that scored the row",
        "unscored_reason": "null, or " + "; ".join(f"{reason}: {meaning}" for reason, meaning in UNSCORED.items()),
    },
)

VERSION_1 = replace(
    PREDICTION,
    version=1,
    readable=(),
    optional=frozenset(),
    schema=pa.schema([field for field in PREDICTION.schema if field.name not in ("unscored_reason", VALUE)]),
    columns={name: meaning for name, meaning in PREDICTION.columns.items() if name not in ("unscored_reason", VALUE)},
)
"""What earlier releases wrote."""


def is_version_1(schema: pa.Schema) -> bool:
    """Whether predictions are of version 1, in which two classes have the probability of the second label.

    Files that another tool wrote again carry no version; those of version 1 lack `unscored_reason`.
    """
    metadata = schema.metadata or {}
    if metadata.get(KEY_NAME) == PREDICTION.name.encode():
        return bool(metadata.get(KEY_VERSION) == b"1")
    return "unscored_reason" not in schema.names
