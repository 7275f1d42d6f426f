"""The task of a training, and that of a bundle."""

from collections.abc import Sequence

import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.lake.shards import Shard
from pipeline.models.bundle import Bundle
from pipeline.tasks.base import Task
from pipeline.tasks.classification import Classification
from pipeline.tasks.kinds import CLASSIFICATION, REGRESSION, Kind
from pipeline.tasks.regression import Regression
from pipeline.text.vocabulary import Vocabulary
from schemas.contract import NEWER
from schemas.token import TARGET

STARS = "stars"


def task_for(
    vocabulary: Vocabulary, shards: Sequence[Shard] = (), kind: Kind = CLASSIFICATION, column: str | None = None
) -> Task:
    """The task that learns from these shards, before its training part is known.

    Args:
        column: the numbers of regression; None for `target` if any shard has it, else the stars.

    Raises:
        DataError: there are no labels to learn.
    """
    if kind is REGRESSION:
        return Regression(column or (TARGET if any(_has_target(shard) for shard in shards) else STARS))
    labels = vocabulary.labels
    if len(labels) < 2:
        found = f"one class only ({labels[0]})" if labels else "no labels"
        remedy = (
            "a classifier needs two. Also ingest labelled reviews of another class (aclImdb's folders, or --label-column)."
        )
        if any(_has_target(shard) for shard in shards):
            remedy += " The reviews have numbers: --task regression learns these."
        brief = f"the reviews have {'one class only' if labels else 'no labels'}; {remedy}"
        raise DataError(f"the reviews have {found}; {remedy}", brief=brief)
    return Classification(labels)


def trained_task(task: Task, summary: Sequence[float], class_weights: str) -> Task:
    """The task once its training part is known.

    Args:
        summary: what `Task.summary` gave.
        class_weights: the value of `--class-weights`.
    """
    if isinstance(task, Classification):
        return task.weighted(summary, class_weights)
    assert isinstance(task, Regression)
    return task.trained_on(summary)


def task_of(bundle: Bundle) -> Task:
    """What a model has learned.

    Raises:
        DataError: something that this release does not know.
    """
    if not bundle.task:
        return Classification(bundle.labels)
    try:
        if bundle.task["name"] == REGRESSION.name:
            values = {name: float(bundle.task[name]) for name in ("mean", "std", "low", "high")}
            return Regression(str(bundle.task["column"]), **values)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{bundle.model_id}: model.json describes its task wrongly ({error}). Train it again.") from error
    raise DataError(f"{bundle.model_id} has learned {bundle.task['name']!r}, which this release does not know. {NEWER}")


def _has_target(shard: Shard) -> bool:
    return TARGET in pq.read_schema(shard.path).names
