"""The columns that hold a model's answers in predictions: of labels, or of numbers. Importable without torch.

N rows, C labels; a model without labels is one of numbers, whose answers are (N, 1).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.prediction import CLASS_PREFIX, CLASSES, MAX_CLASS_COLUMNS, PREDICTION, VALUE

Answers = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def answer_fields(labels: Sequence[str]) -> list[pa.Field]:
    """The columns of the answers, in order."""
    if not labels:
        return [PREDICTION.schema.field(VALUE)]
    classes = [pa.field(CLASS_PREFIX + label, pa.float32()) for label in labels]
    if len(labels) > MAX_CLASS_COLUMNS:
        classes = [CLASSES]
    return [PREDICTION.schema.field("prediction"), PREDICTION.schema.field("probability"), *classes]


def answer_columns(answers_NC: Answers, without_N: Mask, labels: Sequence[str]) -> list[pa.Array]:
    """The columns of `answer_fields`.

    Args:
        answers_NC: probabilities (N, C) or numbers (N, 1); NaN where a row was not scored.
        without_N: rows that get no prediction; of those that were scored, class probabilities are kept.
    """
    if not labels:
        return [pa.array(answers_NC[:, 0], pa.float32(), mask=without_N)]
    unscored_N = np.isnan(answers_NC[:, 0])
    best_N = best_labels(answers_NC)
    return [
        pa.array(labels, pa.string()).take(pa.array(best_N, mask=without_N)),
        pa.array(answers_NC[np.arange(len(best_N)), best_N], pa.float32(), mask=without_N),
        *_classes(answers_NC, unscored_N),
    ]


def best_labels(probability_NC: Answers) -> npt.NDArray[np.int64]:
    """The most probable label of each row; the first one for rows that were not scored."""
    return np.where(np.isnan(probability_NC[:, 0]), 0, probability_NC.argmax(axis=1))


def _classes(probability_NC: Answers, unscored_N: Mask) -> list[pa.Array]:
    rows, classes = probability_NC.shape
    if classes <= MAX_CLASS_COLUMNS:
        return [pa.array(probability_NC[:, index], pa.float32(), mask=unscored_N) for index in range(classes)]
    offsets = pa.array(np.arange(0, (rows + 1) * classes, classes, dtype=np.int32))
    values = pa.array(probability_NC.reshape(-1), pa.float32())
    return [pa.ListArray.from_arrays(offsets, values, type=CLASSES.type, mask=pa.array(unscored_N))]
