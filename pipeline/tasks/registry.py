"""The task of a training, and that of a bundle."""

from collections.abc import Sequence

from pipeline.errors import DataError
from pipeline.models.bundle import Bundle
from pipeline.tasks.base import Task
from pipeline.tasks.classification import Classification
from pipeline.text.vocabulary import Vocabulary


def task_for(vocabulary: Vocabulary) -> Task:
    """The task that learns from a table with this vocabulary, before its training part is known.

    Raises:
        DataError: the table has nothing that the task could learn.
    """
    labels = vocabulary.labels
    if len(labels) < 2:
        found = f"one class only ({labels[0]})" if labels else "no labels"
        remedy = (
            "a classifier needs two. Also ingest labelled reviews of another class (aclImdb's folders, or --label-column)."
        )
        brief = f"the reviews have {'one class only' if labels else 'no labels'}; {remedy}"
        raise DataError(f"the reviews have {found}; {remedy}", brief=brief)
    return Classification(labels)


def trained_task(task: Task, summary: Sequence[float], class_weights: str) -> Task:
    """The task once its training part is known.

    Args:
        summary: what `Task.summary` gave.
        class_weights: the value of `--class-weights`.
    """
    assert isinstance(task, Classification)
    return task.weighted(summary, class_weights)


def task_of(bundle: Bundle) -> Task:
    """What a model has learned."""
    return Classification(bundle.labels)
