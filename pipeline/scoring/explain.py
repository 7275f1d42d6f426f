"""The explanation column: which tokens of a review made its prediction."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.scoring.batches import Ragged
from pipeline.scoring.predictor import Predictor, Probabilities
from pipeline.text.vocabulary import Vocabulary
from schemas.prediction import EXPLAINED_TOKENS, EXPLANATION


def explanations(predictor: Predictor, vocabulary: Vocabulary, ids: pa.ListArray, probability_NC: Probabilities) -> pa.Array:
    """The tokens that weigh most for each review's predicted class, the heaviest first.

    Args:
        ids: list<int32> of N reviews; null for a review without text.
        probability_NC: float32 (N, C), as the predictor gave them.

    Returns:
        N lists of the type of `EXPLANATION`, at most `EXPLAINED_TOKENS` long; null for null.
    """
    reviews = Ragged.from_lists(ids, predictor.bundle.max_length)
    target_N = np.where(np.isnan(probability_NC[:, 0]), 0, probability_NC.argmax(axis=1))
    tops: list[tuple[NDArray[np.int64], NDArray[np.float32]] | None] = [None] * len(ids)
    for rows, weight_BT in predictor.attributions(reviews, target_N):
        for row, weight_T in zip(rows, weight_BT, strict=True):
            weights = weight_T[: reviews.lengths[row]]
            best = np.argsort(-np.abs(weights), kind="stable")[:EXPLAINED_TOKENS]
            tops[row] = best, weights[best]
    counts = [0 if top is None else len(top[0]) for top in tops]
    positions = np.concatenate([np.zeros(0, np.int64), *(top[0] for top in tops if top is not None)])
    weights = np.concatenate([np.zeros(0, np.float32), *(top[1] for top in tops if top is not None)])
    owners = np.repeat(np.arange(len(ids)), counts)
    tokens = vocabulary.tokens.take(pa.array(reviews.values[reviews.starts[owners] + positions]))
    offsets = pa.array(np.cumsum([0, *counts]), pa.int32())
    values = pa.StructArray.from_arrays(
        [tokens, pa.array(positions, pa.int32()), pa.array(weights, pa.float32())], fields=list(EXPLANATION.type.value_type)
    )
    null = pa.array([top is None for top in tops])
    return pa.ListArray.from_arrays(offsets, values, type=EXPLANATION.type, mask=null)
