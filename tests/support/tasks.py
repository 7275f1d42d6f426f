"""Tasks for tests that need any."""

from pipeline.tasks.base import Task
from pipeline.tasks.classification import Classification
from pipeline.tasks.regression import Regression

TWO_LABELS = Classification(("neg", "pos"))
TASKS: dict[str, Task] = {"classification": TWO_LABELS, "regression": Regression("stars")}
"""The tasks that a corpus of `token_corpus` has targets for, before their training part is known."""
