"""Which tokens made a prediction: of each review (the explanation column), and over many reviews."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.batches.ragged import Ragged
from pipeline.scoring.predictor import Predictor, Probabilities
from pipeline.text.vocabulary import Vocabulary
from schemas.prediction import EXPLAINED_TOKENS, EXPLANATION
from schemas.vocabulary import SPECIALS


def explanations(predictor: Predictor, vocabulary: Vocabulary, ids: pa.ListArray, probability_NC: Probabilities) -> pa.Array:
    """The tokens that weigh most for each review's predicted class, the heaviest first.

    Args:
        ids: list<int32> of N reviews; null for a review without text.
        probability_NC: float32 (N, C), as the predictor gave them.

    Returns:
        N lists of the type of `EXPLANATION`, at most `EXPLAINED_TOKENS` long; null for null.
    """
    reviews = Ragged.from_lists(ids, predictor.bundle.max_length)
    target_N = predictor.task.explained(probability_NC)
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


PULL_STEPS = 4
"""Points of the integral: over a thousand reviews its error averages out."""
MOST_PULLS = 20
LEAST_SHARE = 0.003
"""A token has to occur in this share of the reviews, and in two of them."""
PRIOR_OCCURRENCES = 5
"""Tokens are ranked as if each had this many more occurrences without weight, so rare ones need larger weights."""


@dataclass(frozen=True, slots=True)
class Pull:
    """A token, its mean contribution to a label's logit per occurrence, and the number of reviews with it."""

    token: str
    weight: float
    reviews: int


def token_pulls(predictor: Predictor, vocabulary: Vocabulary, ids: pa.ListArray) -> dict[str, list[Pull]]:
    """The tokens that pull most to each label, the strongest first, by integrated gradients of the predicted label's logit.

    With two labels, what speaks against one speaks for the other. With more, a label's tokens are those of the reviews
    that are predicted to have it.

    Args:
        ids: list<int32> of N reviews, none null.
    """
    reviews = Ragged.from_lists(ids, predictor.bundle.max_length)
    target_N = predictor.task.explained(predictor.predict(ids))
    labels, words = predictor.task.outputs, len(vocabulary)
    sums, occurrences, holders = (np.zeros((len(labels), words)) for _ in range(3))
    for rows, weight_BT in predictor.attributions(reviews, target_N, signed=True, steps=PULL_STEPS):
        ids_BT, lengths_B = reviews.take(rows).padded()
        for label in range(len(labels)):
            mine = target_N[rows] == label
            inside = (np.arange(ids_BT.shape[1]) < lengths_B[:, None])[mine]
            tokens = ids_BT[mine][inside]
            sums[label] += np.bincount(tokens, weight_BT[mine][inside], words)
            occurrences[label] += np.bincount(tokens, minlength=words)
            for review in np.flatnonzero(mine):
                holders[label, np.unique(ids_BT[review, : lengths_B[review]])] += 1
    if len(labels) == 2:
        sums = np.stack([sums[0] - sums[1], sums[1] - sums[0]])
        occurrences, holders = (np.broadcast_to(part.sum(axis=0), part.shape) for part in (occurrences, holders))
    least = max(2, LEAST_SHARE * len(ids))
    found = {}
    for label, name in enumerate(labels):
        rank = np.where(holders[label] >= least, sums[label] / (occurrences[label] + PRIOR_OCCURRENCES), 0.0)
        rank[: len(SPECIALS)] = 0.0
        best = np.argsort(-rank, kind="stable")[:MOST_PULLS]
        found[name] = [
            Pull(
                vocabulary.tokens[int(word)].as_py(), sums[label][word] / occurrences[label][word], int(holders[label][word])
            )
            for word in best
            if rank[word] > 0
        ]
    return found
