"""`judge.parquet` of a bundle: the reviews that later models are compared with it on."""

import pyarrow as pa

from schemas.contract import Contract

JUDGE = Contract(
    name="judge",
    version=1,
    description="judge.parquet of a bundle: reviews of the test part, as they were when the model was trained. While the "
    "model is live, new models are compared with it on these.",
    schema=pa.schema(
        [
            pa.field("review_id", pa.string(), nullable=False),
            pa.field("content_sha256", pa.string(), nullable=False),
        ]
    ),
    columns={
        "review_id": "the review's id in the token table",
        "content_sha256": "as in the token table; a review with other text, label, split or group is left out",
    },
)
