"""Fits the linear model of n-grams: what the task's statistics say of each, times a weight learned in one pass.

    z_c = b_c + Σ_k v_kc · s · r_kc,   with the task's loss over z

r: the task's `ngram_statistics`; of classification, the log-count ratios of naive Bayes.

v starts at 0, and Adam updates only the rows of the batch. s scales the step of each bucket: an uninformative one (r = 0)
never moves. The shards are read twice, so memory depends on the buckets, not on the number of reviews.

Source: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification", section 2.3, with
the logistic loss of Mesnil et al. 2014, "Ensemble of generative and discriminative techniques for sentiment analysis".
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pipeline.datapipes.train_collate import Batch
from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.models.layers.ngram_linear import NgramLinear, bounded_bits, expanded
from pipeline.order.options import OrderOptions
from pipeline.order.order import Order, num_steps
from pipeline.order.plan import EvaluationPlan, TrainPlan
from pipeline.order.selection import Part
from pipeline.tasks.base import Loss, NgramStatistics, Task
from pipeline.text.ngrams import Buckets, ngram_buckets
from pipeline.training.row_adam import RowAdam

ENOUGH_STEPS = 600
MOST_EPOCHS = 10
COUNT_ROWS = 1024
"""Number of reviews counted at once."""


@dataclass(frozen=True, kw_only=True)
class NgramOptions:
    """Options of the linear model and its fit. `scale` is s in the equations; `bits`: at most 2^bits buckets."""

    ngrams: int = 3
    bits: int = 22
    scale: float = 0.15
    lr: float = 0.02
    batch_size: int = 32
    epochs: int | None = None
    """None for enough passes to make about `ENOUGH_STEPS` steps."""
    seed: int = 0
    loader: LoaderOptions = field(default_factory=LoaderOptions)


def fit_ngrams(
    part: Part,
    options: NgramOptions,
    *,
    task: Task,
    max_length: int,
    vocab_size: int,
    soft_targets_UC: Tensor | None = None,
    check_stop: Callable[[], None] = lambda: None,
) -> NgramLinear:
    """The model fitted on a part: a pure function of its rows, their targets and the options.

    `soft_targets_UC`: the targets of the part's rows that bear soft ones, in its order. `check_stop` is called after every
    batch and may raise, such as `StoppedError`.

    Raises:
        DataError: damaged shards, or ids that are not below `vocab_size`.
    """
    reader = RowGroupReader(part, max_length, vocab_size)
    # A bucket is the upper bits of the hash, so buckets can be merged later: count at the finest resolution first.
    finest = bounded_bits(options.bits, task.num_outputs)
    statistics = task.ngram_statistics(finest)

    def read(batch: Batch) -> Tensor:
        return task.softened(task.targets(batch), soft_targets_UC)

    _count(part, reader, options, statistics, finest, read, check_stop)
    bits = bounded_bits(options.bits, task.num_outputs, statistics.distinct())
    ratio_KC = torch.from_numpy(statistics.ratios(bits)) * options.scale
    del statistics
    weights_KC, bias_C = _learn(part, reader, options, task, ratio_KC, bits, read, check_stop)
    model = NgramLinear(task.num_outputs, options.ngrams, bits)
    model.set_weights(weights_KC.mul_(ratio_KC), bias_C)
    return model


def default_epochs(rows: int, batch_size: int) -> int:
    """Number of passes for about `ENOUGH_STEPS` steps, up to `MOST_EPOCHS`; one for 25,000 reviews, where more passes only
    overfit."""
    return min(MOST_EPOCHS, max(1, round(ENOUGH_STEPS / max(num_steps(rows, batch_size), 1))))


def _count(
    part: Part,
    reader: RowGroupReader,
    options: NgramOptions,
    statistics: NgramStatistics,
    bits: int,
    read: Callable[[Batch], Tensor],
    check_stop: Callable[[], None],
) -> None:
    with batches(EvaluationPlan(part.rows_per_group, COUNT_ROWS), reader, options.loader) as stream:
        for batch in stream:
            statistics.add(_buckets(batch, options.ngrams, bits), read(batch).numpy())
            check_stop()


def _learn(
    part: Part,
    reader: RowGroupReader,
    options: NgramOptions,
    task: Task,
    ratio_KC: Tensor,
    bits: int,
    read: Callable[[Batch], Tensor],
    check_stop: Callable[[], None],
) -> tuple[Tensor, Tensor]:
    """The weights v (K, columns) and the bias (columns,) after `epochs` passes, in training order."""
    weights_KC = torch.zeros_like(ratio_KC, requires_grad=True)
    bias_C = torch.zeros(ratio_KC.shape[1], requires_grad=True)
    optimizers = (RowAdam([weights_KC], options.lr), torch.optim.Adam([bias_C], options.lr))
    loss = task.loss_on(torch.device("cpu"))
    order = OrderOptions(batch_size=options.batch_size, seed=options.seed)
    for epoch in range(options.epochs or default_epochs(part.rows, options.batch_size)):
        with batches(TrainPlan(Order(part.rows_per_group, order, epoch)), reader, options.loader) as stream:
            for batch in stream:
                found = _buckets(batch, options.ngrams, bits)
                of_scores = partial(_loss, loss, task.num_outputs, read(batch))
                _step(weights_KC, bias_C, ratio_KC, of_scores, batch.rows, found)
                for optimizer in optimizers:
                    optimizer.step()
                check_stop()
    return weights_KC.detach(), bias_C.detach()


def _loss(loss: Loss, num_outputs: int, targets: Tensor, scores_BC: Tensor) -> Tensor:
    return loss(expanded(scores_BC, num_outputs), targets)


def _step(
    weights_KC: Tensor, bias_C: Tensor, ratio_KC: Tensor, loss: Callable[[Tensor], Tensor], rows: int, found: Buckets
) -> None:
    """Sets the gradients of a batch's mean loss; the weights' gradient has a row for each bucket of each review."""
    bucket_N = torch.from_numpy(found.values.astype(np.int64))
    review_N = torch.repeat_interleave(torch.from_numpy(np.diff(found.bounds)))
    ratio_NC = ratio_KC[bucket_N]
    with torch.no_grad():
        scores_BC = bias_C.expand(rows, -1).clone()
        scores_BC.index_add_(0, review_N, weights_KC[bucket_N] * ratio_NC)
    scores_BC.requires_grad_()
    (loss(scores_BC) / rows).backward()  # type: ignore[no-untyped-call]
    gradient_BC = scores_BC.grad
    assert gradient_BC is not None
    bias_C.grad = gradient_BC.sum(dim=0)
    weights_KC.grad = torch.sparse_coo_tensor(
        bucket_N[None], ratio_NC * gradient_BC[review_N], weights_KC.shape, check_invariants=False
    )


def _buckets(batch: Batch, ngrams: int, bits: int) -> Buckets:
    ids_BT = batch.ids.numpy()
    starts = np.arange(len(ids_BT), dtype=np.int64) * ids_BT.shape[1]
    return ngram_buckets(ids_BT.ravel(), starts, batch.lengths.numpy(), ngrams=ngrams, bits=bits)
