"""From token ids to class probabilities: a bundle's model, fed with batches of neighbours in length.

On the CPU every core runs batches of its own, with one thread inside the kernels: the recurrent step's matrices are too
small to share. Recurrent models go without padding there (`packed.py`, `packed_scan.py`), at fp32, and n-grams are hashed
and summed without padding everywhere. What each choice gains, tests/benchmarks/bench_score_variants.py measures.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from pipeline.batches.ragged import Ragged, plan_batches
from pipeline.config.score import DEFAULT_BATCH_SIZE
from pipeline.devices import autocast, resolve_device, resolve_precision
from pipeline.models.blend import Blend
from pipeline.models.interface import Classifier, ReviewClassifier
from pipeline.scoring.options import TOKENS_PER_REVIEW
from pipeline.scoring.packed import PackedForward
from pipeline.scoring.packed_scan import PackedScan
from pipeline.scoring.packed_sums import PackedSums
from pipeline.scoring.probabilities import DivergedError, Probabilities, check_finite
from pipeline.tasks.registry import task_of

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle

CUDA_FACTOR = 16
"""A GPU's batch is this many times the CPU's."""
CUDA_THREADS = 2
"""One thread pads the next batch while the other's is on the GPU."""

__all__ = ["DivergedError", "Pending", "Predictor", "Probabilities"]


class Predictor:
    """A model ready to score; use it as a context manager, or `close` it.

    While it is open, torch's kernels keep to one thread on the CPU, in the whole process.

    Args:
        device: `auto` uses a GPU if available.
        batch_size: size of a padded batch, in reviews of `TOKENS_PER_REVIEW` tokens; shorter ones share bigger batches,
            and where less memory is needed for each, a multiple of them.
        precision: `auto` is fp32: a review's score then does not depend on its batch-mates (to 1e-6).
        threads: batches computed at once; by default the number of cores that torch may use.
        planned_for: threads that a window is divided among, if not `threads`: the last bits of a score depend on the
            batches.

    Raises:
        UsageError: a device or precision that there is not.
    """

    def __init__(
        self,
        bundle: "Bundle",
        device: str = "auto",
        batch_size: int = DEFAULT_BATCH_SIZE,
        precision: str = "auto",
        threads: int | None = None,
        planned_for: int | None = None,
    ) -> None:
        self.bundle = bundle
        self.task = task_of(bundle)
        self.device = resolve_device(device)
        self.precision = resolve_precision(precision, self.device)
        self.batch_size = batch_size
        on_cuda = self.device.type == "cuda"
        self._model = bundle.load_model(self.device)
        self._model.requires_grad_(False)
        deep = self._model.deep if isinstance(self._model, Blend) else self._model
        self.packed = without_padding(deep) if not on_cuda and self.precision == "fp32" else None
        tokens = batch_size * TOKENS_PER_REVIEW * (CUDA_FACTOR if on_cuda else 1)
        # Gradients need what every layer computed, so their batches are smaller.
        self.attribution_tokens = tokens // 2
        self.max_tokens = tokens * (self.packed.batch_factor if self.packed else 1)
        self.threads_before = torch.get_num_threads()
        self.threads = threads or (CUDA_THREADS if on_cuda else self.threads_before)
        self.planned_for = planned_for or self.threads
        self.pool = ThreadPoolExecutor(self.threads, "score", initializer=torch.set_num_threads, initargs=(1,))

    def submit(self, ids: pa.ListArray) -> "Pending":
        """Starts to score reviews and returns at once.

        Args:
            ids: list<int32>, one list a review; null for a review without text; an empty one counts as one `<unk>`.
        """
        reviews = Ragged.from_lists(ids, self.bundle.max_length)
        probability_NC = np.full((len(ids), self.task.num_outputs), np.nan, np.float32)
        stop = threading.Event()
        self.prepare(reviews)

        def score(rows: NDArray[np.int64]) -> None:
            if not stop.is_set():
                probability_NC[rows] = self.forward(reviews.take(rows))

        return Pending(
            [self.pool.submit(score, rows) for rows in self.plan(reviews)],
            stop,
            lambda: self._checked(probability_NC, reviews),
        )

    @property
    def device_type(self) -> str:
        """`cpu` or `cuda`."""
        return self.device.type

    def plan(self, reviews: Ragged) -> list[NDArray[np.int64]]:
        """Rows of each batch: of `max_tokens`, or of half as many where that gives every thread its share."""
        lengths = self._lengths_read(reviews)
        share = int(lengths.sum()) // (2 * self.planned_for)
        least = self.max_tokens // 2 if self.packed else self.max_tokens
        return plan_batches(lengths, min(max(share, least), self.max_tokens))

    def begin(self, *, with_table: bool = False) -> None:
        """Forgets what was scored before. The last bits of a review's score depend on the tables in use, so that without
        this they would depend on the inputs before its own.

        Args:
            with_table: as if a window before had been worth the tables, see `prepare`.
        """
        if self.packed is not None and with_table:
            self.packed.make_table()
        elif self.packed is not None:
            self.packed.leave_table()

    def prepare(self, reviews: Ragged) -> None:
        """Prepares tables that pay off for these reviews."""
        if self.packed is not None and self._lengths_read(reviews).sum() > self.bundle.model_config["vocab_size"]:
            self.packed.make_table()

    def predict(self, ids: pa.ListArray) -> Probabilities:
        """Scores reviews (see `submit`).

        Returns:
            float32 (N, C), rows in the order of `ids`, classes in the order of the bundle's labels; NaN for null.

        Raises:
            DivergedError: the model gives no finite probabilities.
            MemoryError: the GPU has too little for a batch.
        """
        return self.submit(ids).result()

    def attributions(
        self, reviews: Ragged, target_N: NDArray[np.int64], *, signed: bool = False, steps: int = 16
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """What each token says for its review's class `target_N`; reviews without text are left out.

        Args:
            signed: integrated gradients, from attention models too.
            steps: points of the integral.

        Yields:
            rows of a batch, int64 (B), and their weights, float32 (B, T), 0 at padding.
        """
        from pipeline.scoring.attribution import attribute

        def weigh(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            ids_BT, lengths_B = (torch.from_numpy(array).to(self.device) for array in reviews.take(rows).padded())
            target_B = torch.from_numpy(target_N[rows]).to(self.device)
            weights: NDArray[np.float32] = (
                attribute(self._model, ids_BT, lengths_B, target_B, steps, signed=signed).cpu().numpy()
            )
            return weights

        batches = plan_batches(reviews.lengths, self.attribution_tokens)
        yield from zip(batches, self.pool.map(weigh, batches), strict=True)

    def close(self) -> None:
        """Waits for the batches at work, drops the others, and gives torch its threads back."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self.threads_before)

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def forward(self, reviews: Ragged) -> Probabilities:
        """Probabilities (B, C) of one batch, none of its reviews empty, computed in the caller's thread."""
        # Inference and autocast are states of the thread, so they are entered here and not once outside.
        with torch.inference_mode(), autocast(self.device, self.precision):
            outputs_BC = self._outputs(reviews)
            probability_BC: Probabilities = self.task.answers(outputs_BC.float()).cpu().numpy()
            return probability_BC

    def _outputs(self, reviews: Ragged) -> torch.Tensor:
        if not isinstance(self._model, Blend):
            return self._deep_outputs(self._model, reviews)
        blend = self._model.blend
        if blend.truncation == "head" or reviews.lengths.max() <= blend.max_length:
            read = reviews.head(blend.max_length)
        else:
            ids_BT, lengths_B = self._model.cut(*map(torch.from_numpy, reviews.padded()))
            read = Ragged.of_padded(ids_BT.numpy(), lengths_B.numpy())
        deep_BC = self._deep_outputs(self._model.deep, read)
        if self._model.ngrams is None:
            return self._model.combined(deep_BC, None)
        rows = reviews.values, reviews.starts, reviews.lengths
        return self._model.combined(deep_BC, self._model.ngrams.of_rows(*rows).to(deep_BC.device))

    def _deep_outputs(self, deep: Classifier, reviews: Ragged) -> torch.Tensor:
        if self.packed is not None:
            return self.packed.of_reviews(reviews)
        ids_BT, lengths_B = map(torch.from_numpy, reviews.padded())
        if self.device.type == "cuda":
            ids_BT, lengths_B = (tensor.pin_memory().to(self.device, non_blocking=True) for tensor in (ids_BT, lengths_B))
        logits_BC: torch.Tensor = deep(ids_BT, lengths_B)
        return logits_BC

    def _lengths_read(self, reviews: Ragged) -> NDArray[np.int64]:
        """Tokens of each review that the architecture reads: what a batch costs."""
        if isinstance(self._model, Blend):
            return np.minimum(reviews.lengths, self._model.blend.max_length)
        return reviews.lengths

    def _checked(self, probability_NC: Probabilities, reviews: Ragged) -> Probabilities:
        check_finite(probability_NC, reviews.lengths, self.bundle.model_id)
        return probability_NC


def without_padding(model: Classifier) -> PackedForward | PackedScan | PackedSums | None:
    """What gives the model's logits on the CPU without computing padding; None where nothing does."""
    if PackedSums.supports(model):
        return PackedSums(model)
    for kind in (PackedForward, PackedScan):
        if kind.supports(model):
            return kind(cast(ReviewClassifier, model))
    return None


class Pending:
    """Reviews that are being scored."""

    def __init__(self, futures: "list[Future[None]]", stop: threading.Event, collect: Callable[[], Probabilities]) -> None:
        self._futures, self._stop, self._collect = futures, stop, collect

    def result(self) -> Probabilities:
        """Waits and gives what `Predictor.predict` gives; raises what it raises."""
        try:
            for future in self._futures:
                future.result()
        except torch.OutOfMemoryError as error:
            raise MemoryError("the GPU has too little memory for a batch. Lower --batch-size.") from error
        finally:
            self._stop.set()
        return self._collect()
