"""Class probabilities, and what is wrong with them where a model has diverged. Without torch."""

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

Probabilities = NDArray[np.float32]


class DivergedError(DataError):
    """A model gives probabilities that are NaN or infinite."""


def softmax(logits_NC: NDArray[np.float32]) -> Probabilities:
    """Probabilities (N, C); rows sum to 1."""
    exponentials_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    found: Probabilities = exponentials_NC / exponentials_NC.sum(axis=1, keepdims=True)
    return found


def check_finite(probability_NC: Probabilities, lengths_N: NDArray[np.int64], model_id: str) -> None:
    """Raises `DivergedError` unless every review with a token has probabilities."""
    if not np.isfinite(probability_NC[lengths_N > 0]).all():
        raise DivergedError(
            f"the model {model_id} gives probabilities that are NaN or infinite: its training diverged. "
            "Score with another one (--model), or train again with a lower --lr."
        )
