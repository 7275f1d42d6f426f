"""`reference.json` of a bundle: how the reviews looked that the model was tested on, to compare scored reviews with."""

from schemas.document import Document, Field

LENGTH, UNKNOWN, PREDICTION, CONFIDENCE = "length", "unknown", "prediction", "confidence"
FEATURES = {
    LENGTH: "tokens per review",
    UNKNOWN: "share of unknown tokens per review",
    PREDICTION: "predicted class; one bin per label",
    CONFIDENCE: "probability of the predicted class",
}
"""What is compared, by name."""


def _feature(name: str, description: str) -> Field:
    binned = (
        "one per label" if name == PREDICTION else "the first up to and including edges[0], the last above the last edge"
    )
    edges = Field(name="edges", type="numbers", description="upper edges of all bins but the last, ascending")
    return Field(
        name=name,
        type="object",
        description=description,
        fields=(
            *(() if name == PREDICTION else (edges,)),
            Field(name="counts", type="numbers", description=f"reviews per bin: {binned}"),
            Field(
                name="mean",
                type="number",
                description="mean; of unknown: unknown tokens / tokens; of prediction: 0",
                minimum=0,
                maximum=float(2**53),
            ),
            Field(
                name="design_effect",
                type="number",
                description="variance of the shares of the bins for reviews that come by group / for independent reviews",
                minimum=1,
                maximum=float(2**53),
            ),
        ),
    )


REFERENCE = Document(
    name="reference",
    noun="reference for drift",
    version=1,
    description="reference.json of a bundle: histograms of reviews that the model was not trained on.",
    remedy="Restore the folder from a backup, or delete it and train again.",
    fields=(
        Field(name="rows", type="integer", description="reviews of the validation and test parts", minimum=0, maximum=2**53),
        Field(name="groups", type="integer", description="groups that they come from", minimum=0, maximum=2**53),
        Field(
            name="features",
            type="object",
            description="a histogram for each feature",
            fields=tuple(_feature(name, description) for name, description in FEATURES.items()),
        ),
    ),
)
