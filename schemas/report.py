"""What a bundle may hold for its report, beside its metrics: review lengths, scored reviews, examples, token weights."""

from dataclasses import replace

import pyarrow as pa

from schemas.contract import Contract
from schemas.prediction import EXPLANATION

LENGTH = Contract(
    name="length",
    version=1,
    description="lengths.parquet of a bundle: the number of reviews by number of tokens.",
    schema=pa.schema(
        [
            pa.field("split", pa.string(), nullable=False),
            pa.field("length", pa.int32(), nullable=False),
            pa.field("count", pa.int64(), nullable=False),
        ]
    ),
    columns={
        "split": "train, valid, test or unsup, as in the table",
        "length": "tokens of a review, before truncation",
        "count": "number of reviews of exactly this length; lengths without reviews have no row",
    },
)

KEY_LABEL_ROWS = b"review_pipeline.label_rows"
"""Metadata of evaluation.parquet: JSON, for train, valid and test the number of reviews of each label. Of a large part
only a sample is in the file."""

EVALUATION = Contract(
    name="evaluation",
    version=1,
    description="evaluation.parquet of a bundle: the held-out reviews as the model scored them.",
    schema=pa.schema(
        [
            pa.field("split", pa.string(), nullable=False),
            pa.field("review_id", pa.string(), nullable=False),
            pa.field("label", pa.int32(), nullable=False),
            pa.field("length", pa.int32(), nullable=False),
            pa.field("probabilities", pa.list_(pa.field("element", pa.float32())), nullable=False),
        ]
    ),
    columns={
        "split": "valid or test",
        "review_id": "the review's id in the token table",
        "label": "the true label's id",
        "length": "tokens of the review, before truncation",
        "probabilities": "one per label, in the order of the labels' ids",
    },
)

NUMBERS = Contract(
    name="evaluated-number",
    version=1,
    description="evaluated_numbers.parquet of a regression model's bundle: the held-out reviews as the model scored them.",
    schema=pa.schema(
        [
            pa.field("split", pa.string(), nullable=False),
            pa.field("review_id", pa.string(), nullable=False),
            pa.field("target", pa.float64(), nullable=False),
            pa.field("length", pa.int32(), nullable=False),
            pa.field("predicted_value", pa.float64(), nullable=False),
        ]
    ),
    columns={
        "split": "valid or test",
        "review_id": "the review's id in the token table",
        "target": "the true number",
        "length": "tokens of the review, before truncation",
        "predicted_value": "the predicted number",
    },
)

NUMBER_EXAMPLE = Contract(
    name="number-example",
    version=1,
    description="number_examples.parquet of a regression model's bundle: the validation reviews with the largest errors.",
    schema=pa.schema(
        [
            pa.field("text", pa.string(), nullable=False),
            pa.field("target", pa.float64(), nullable=False),
            pa.field("predicted_value", pa.float64(), nullable=False),
        ]
    ),
    columns={
        "text": "the review's tokens joined by spaces",
        "target": "the true number",
        "predicted_value": "the predicted number",
    },
)

TOKEN_WEIGHT = Contract(
    name="token_weight",
    version=1,
    description="token_weights.parquet of a bundle: the most influential tokens for each label, strongest first.",
    schema=pa.schema(
        [
            pa.field("label", pa.string(), nullable=False),
            pa.field("token", pa.string(), nullable=False),
            pa.field("weight", pa.float32(), nullable=False),
            pa.field("reviews", pa.int32(), nullable=False),
        ]
    ),
    columns={
        "label": "the label that the token supports",
        "token": "the token, as tokenized",
        "weight": "mean contribution to the label's logit per occurrence, by integrated gradients",
        "reviews": "number of analysed validation reviews with the token",
    },
)

RIGHT, WRONG, UNSURE = "right", "wrong", "unsure"

EXAMPLE = Contract(
    name="example",
    version=2,
    readable=(1,),
    description="examples.parquet of a bundle: scored reviews, in the order in which the report shows them.",
    schema=pa.schema(
        [
            pa.field("text", pa.string(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("prediction", pa.string(), nullable=False),
            pa.field("probability", pa.float32(), nullable=False),
            pa.field("kind", pa.string()),
            EXPLANATION,
        ]
    ),
    columns={
        "text": "the review, or its tokens joined by spaces",
        "label": "the true label, null if unknown",
        "prediction": "the most probable label",
        "probability": "of the prediction; in version 1, with two classes, of the second label",
        "kind": "why it is shown: wrong, right or unsure; null in version 1",
        "explanation": "the tokens that contribute most; null in version 1",
    },
)

EXAMPLE_1 = replace(
    EXAMPLE,
    version=1,
    readable=(),
    schema=pa.schema(list(EXAMPLE.schema)[:4]),
    columns={name: EXAMPLE.columns[name] for name in EXAMPLE.schema.names[:4]},
)
"""Version 1 of the same."""
