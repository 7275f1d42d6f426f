"""What `pipeline crossval` leaves: each review's prediction by the model that was not trained on it."""

import pyarrow as pa

from schemas.contract import Contract
from schemas.prediction import VALUE

OF_LABELS = ("label", "label_probability", "prediction", "probability")
OF_NUMBERS = ("target", VALUE)
"""Columns that only files of classification, or of regression, have."""

OUT_OF_FOLD = Contract(
    name="out-of-fold",
    version=1,
    optional=frozenset({*OF_LABELS, *OF_NUMBERS}),
    description="A labelled review and its prediction by the model that was trained without its fold. A "
    "probability_<label> column for each class comes last, or a list column, probabilities, as in predictions.",
    schema=pa.schema(
        [
            pa.field("review_id", pa.string(), nullable=False),
            pa.field("group", pa.string()),
            pa.field("fold", pa.int32(), nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("label_probability", pa.float32(), nullable=False),
            pa.field("prediction", pa.string()),
            pa.field("probability", pa.float32()),
            pa.field("target", pa.float64(), nullable=False),
            pa.field(VALUE, pa.float32(), nullable=False),
            pa.field("model_id", pa.string(), nullable=False),
        ]
    ),
    columns={
        "review_id": "the review's id in the token table",
        "group": "the group, such as a film, that is held out together; null if the review has none",
        "fold": "the fold, from 0",
        "label": "the label as ingested",
        "label_probability": "probability of that label; check the labels with the lowest ones",
        "prediction": "the most probable label",
        "probability": "probability of the prediction",
        "target": "regression: the number as ingested",
        VALUE: "regression: the predicted number",
        "model_id": "the model, in crossval/models/",
    },
)
