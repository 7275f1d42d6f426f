"""What a training leaves beside weights: its figures, and while it is unfinished, what it is."""

import pyarrow as pa

from schemas.contract import Contract
from schemas.document import Document, Field

PHASES = ("train", "valid", "test")

FIGURES = {
    "mae": "regression: mean absolute error, in units of the target",
    "spearman": "regression: Spearman's rank correlation of targets and predictions; null in the phase train",
    "perplexity": "language models: exp of the mean loss per predicted token",
}
"""Figures of tasks other than classification: columns that only their files have."""

METRICS = Contract(
    name="metrics",
    version=1,
    unmarked=True,
    remedy="Restore the folder from a backup, or delete it and train again.",
    description="metrics.parquet of a bundle: the measurements, one row per phase of an epoch.",
    schema=pa.schema(
        [
            pa.field("epoch", pa.int32()),
            pa.field("step", pa.int64()),
            pa.field("phase", pa.string()),
            pa.field("loss", pa.float64()),
            pa.field("accuracy", pa.float64()),
            pa.field("seconds", pa.float64()),
            pa.field("tokens", pa.int64()),
            *(pa.field(name, pa.float64()) for name in FIGURES),
        ]
    ),
    optional=frozenset({"accuracy", *FIGURES}),
    columns={
        "epoch": "epoch, from 1",
        "step": "steps since the start of training",
        "phase": f"one of {', '.join(PHASES)}",
        "loss": "mean loss: of classification, the cross entropy per review, in nats",
        "accuracy": "classification: share of reviews whose most probable label is right",
        "seconds": "duration of the phase",
        "tokens": "tokens read, without padding",
        **FIGURES,
    },
)

TRAINING = Document(
    name="training",
    noun="training record",
    version=1,
    description="training.json of an unfinished training: one JSON object that --resume uses to find it.",
    remedy="Delete the training's folder in checkpoints/, and train again.",
    fields=(
        Field(name="identity", type="object", description="the options and data that determine the weights, by name"),
        Field(
            name="launch",
            type="string",
            nullable=True,
            optional=True,
            description="ID of the launcher's run that began it, which continues it when its workers start again",
        ),
    ),
)
