"""What a bundle may hold for its report, beside its metrics: review lengths, and reviews that the model has scored."""

import pyarrow as pa

from schemas.contract import Contract

LENGTH = Contract(
    name="length",
    version=1,
    description="lengths.parquet of a bundle: how many reviews have how many tokens.",
    schema=pa.schema(
        [
            pa.field("split", pa.string(), nullable=False),
            pa.field("length", pa.int32(), nullable=False),
            pa.field("count", pa.int64(), nullable=False),
        ]
    ),
    columns={
        "split": "train, valid, test or unsup, as the table tells it",
        "length": "tokens of a review, before it is cut",
        "count": "reviews of exactly this length; lengths without a review have no row",
    },
)

EXAMPLE = Contract(
    name="example",
    version=1,
    description="examples.parquet of a bundle: scored reviews, in the order in which the report shows them.",
    schema=pa.schema(
        [
            pa.field("text", pa.string(), nullable=False),
            pa.field("label", pa.string()),
            pa.field("prediction", pa.string(), nullable=False),
            pa.field("probability", pa.float32(), nullable=False),
        ]
    ),
    columns={
        "text": "the review, or its tokens with blanks between them",
        "label": "the true label, null when nobody knows it",
        "prediction": "the most probable label",
        "probability": "two classes: probability of the second label (of 'pos' for neg, pos); more: of the prediction",
    },
)
