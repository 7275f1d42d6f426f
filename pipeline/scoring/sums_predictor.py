"""From token ids to class probabilities for models of sums (`sums.py`), in the thread that has just tokenized the reviews.

There is no batch to gather and no forward pass to hide behind, so what other models do in windows, this one does on the
spot, while the ids are in the core's cache; they are not kept. torch, whose import takes longer than scoring 25,000
reviews, is not needed.
"""

import os
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.batches.ragged import Ragged
from pipeline.scoring.probabilities import Probabilities, check_finite, softmax
from pipeline.scoring.sums import Sums, read_sums

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle

MOST_THREADS = 4
"""More tokenize faster than one can write."""


class SumsPredictor:
    """A model of sums, ready to score, with what `jobs` ask of a `Predictor`, which gives the same but for the last bits."""

    device_type = "cpu"
    precision = "fp32"

    def __init__(self, bundle: "Bundle", sums: Sums) -> None:
        self.bundle, self._sums = bundle, sums
        self.threads = min(MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)

    @classmethod
    def of(cls, bundle: "Bundle", device: str, precision: str) -> "SumsPredictor | None":
        """None where the model is not one of sums, or has to compute on a GPU or in half precision.

        Raises:
            PipelineError: see `Bundle.load_tensors`.
        """
        if device not in ("auto", "cpu") or precision not in ("auto", "fp32"):
            return None
        sums = read_sums(bundle)
        return None if sums is None else cls(bundle, sums)

    def score(self, ids: pa.ListArray) -> Probabilities:
        """Scores reviews in the caller's thread; see `Predictor.predict`.

        Raises:
            DivergedError: the model gives no finite probabilities.
        """
        reviews = Ragged.from_lists(ids, self.bundle.max_length)
        probability_NC = np.full((len(ids), len(self.bundle.labels)), np.nan, np.float32)
        rows = np.flatnonzero(reviews.lengths)
        if len(rows):
            with np.errstate(all="ignore"):  # a model that has diverged is reported below
                probability_NC[rows] = softmax(self._sums(reviews.take(rows)))
        check_finite(probability_NC, reviews.lengths, self.bundle.model_id)
        return probability_NC

    def begin(self) -> None:
        """Nothing is remembered between inputs."""

    def __enter__(self) -> "SumsPredictor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass
