"""Tasks for tests that need any."""

from pipeline.tasks.classification import Classification

TWO_LABELS = Classification(("neg", "pos"))
