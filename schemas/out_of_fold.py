"""What `pipeline crossval` leaves: each review's prediction by the model that was not trained on it."""

import pyarrow as pa

from schemas.contract import Contract

OUT_OF_FOLD = Contract(
    name="out-of-fold",
    version=1,
    description="A labelled review and its prediction by the model of the fold that it was held out of. A "
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
            pa.field("model_id", pa.string(), nullable=False),
        ]
    ),
    columns={
        "review_id": "the review's id in the token table",
        "group": "what was held out together, such as a film; null where the review has none",
        "fold": "the fold, from 0",
        "label": "the label as it was ingested",
        "label_probability": "probability of that label; the lowest ones are labels to look at",
        "prediction": "the most probable label",
        "probability": "probability of the prediction",
        "model_id": "the model, in crossval/models/",
    },
)
