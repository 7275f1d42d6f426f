"""What `pipeline score` adds to the columns of its input."""

import pyarrow as pa

from schemas.contract import Contract

KEY_MODEL = b"review_pipeline.model_id"
KEY_INPUT = b"review_pipeline.input_sha256"
KEY_SOURCE = b"review_pipeline.source"
KEY_OPTIONS = b"review_pipeline.score_options"
CLASS_PREFIX = "probability_"
"""With more than two classes, one column more for each: this prefix and the label."""

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
weights where the model has them, else integrated gradients of the predicted label: those below 0 speak against it."""

PREDICTION = Contract(
    name="prediction",
    version=1,
    description="A scored review: the input's columns, then these; with more than two classes also one "
    "probability_<label> column for each; with --explain an explanation column.",
    schema=pa.schema(
        [
            pa.field("prediction", pa.string()),
            pa.field("probability", pa.float32()),
            pa.field("model_id", pa.string(), nullable=False),
        ]
    ),
    columns={
        "prediction": "the most probable label; null when the row holds no text",
        "probability": "two classes: probability of the second label (of 'pos' for neg, pos); more: of the prediction",
        "model_id": "the model that scored the row",
    },
)
