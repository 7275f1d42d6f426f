"""Fits the linear model of n-grams: log-count ratios of naive Bayes, each times a weight learned in one pass.

    r_kc = log((p_kc / Σ_k p_kc) / (q_kc / Σ_k q_kc)),   p_kc = 1 + reviews of class c with bucket k,   q_kc: the others
    (a review with a soft target counts for each class as much as the class is probable)
    z_c = b_c + Σ_k v_kc · s · r_kc,   softmax cross-entropy over z (two classes: one column, logistic loss)

v starts at 0, and Adam updates only the rows of the batch. s scales the step of each bucket: an uninformative one (r = 0)
never moves. The shards are read twice, so memory depends on the buckets, not on the number of reviews.

Source: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification", section 2.3, with
the logistic loss of Mesnil et al. 2014, "Ensemble of generative and discriminative techniques for sentiment analysis".
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.datapipes.train_collate import Batch
from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.models.layers.ngram_linear import NgramLinear, bounded_bits, num_columns
from pipeline.order.options import OrderOptions
from pipeline.order.order import Order, num_steps
from pipeline.order.plan import EvaluationPlan, TrainPlan
from pipeline.order.selection import Part
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
    class_weights: tuple[float, ...] | None = None
    loader: LoaderOptions = field(default_factory=LoaderOptions)


def fit_ngrams(
    part: Part,
    options: NgramOptions,
    *,
    num_classes: int,
    max_length: int,
    vocab_size: int,
    soft_targets_UC: Tensor | None = None,
    check_stop: Callable[[], None] = lambda: None,
) -> NgramLinear:
    """The model fitted on a part: a pure function of its rows, their targets and the options.

    `soft_targets_UC`: the class probabilities of the part's rows with soft targets, in its order. `check_stop` is called
    after every batch and may raise, such as `StoppedError`.

    Raises:
        DataError: damaged shards, or ids that are not below `vocab_size`.
    """
    reader = RowGroupReader(part, max_length, vocab_size)
    # A bucket is the upper bits of the hash, so buckets can be merged later: count at the finest resolution first.
    finest = bounded_bits(options.bits, num_classes)
    counts_KC = _count(part, reader, options, num_classes, finest, soft_targets_UC, check_stop)
    bits = bounded_bits(options.bits, num_classes, int(np.count_nonzero(counts_KC.any(axis=1))))
    wide = np.int64 if counts_KC.dtype == np.int32 else np.float64
    counts_KC = counts_KC.reshape(1 << bits, -1, num_classes).sum(axis=1, dtype=wide)
    ratio_KC = torch.from_numpy(log_count_ratios(counts_KC)) * options.scale
    del counts_KC
    weights_KC, bias_C = _learn(part, reader, options, ratio_KC, bits, soft_targets_UC, check_stop)
    model = NgramLinear(num_classes, options.ngrams, bits)
    model.set_weights(weights_KC.mul_(ratio_KC), bias_C)
    return model


def default_epochs(rows: int, batch_size: int) -> int:
    """Number of passes for about `ENOUGH_STEPS` steps, up to `MOST_EPOCHS`; one for 25,000 reviews, where more passes only
    overfit."""
    return min(MOST_EPOCHS, max(1, round(ENOUGH_STEPS / max(num_steps(rows, batch_size), 1))))


def log_count_ratios(counts_KC: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """r: float32 (K, columns), from the number of reviews of each class with each bucket. Two classes: r of the
    second."""
    total_K = counts_KC.sum(axis=1)
    ratio_KC = np.empty((len(counts_KC), num_columns(counts_KC.shape[1])), np.float32)
    for column in range(ratio_KC.shape[1]):
        label = 1 if ratio_KC.shape[1] == 1 else column
        p_K, q_K = 1.0 + counts_KC[:, label], 1.0 + (total_K - counts_KC[:, label])
        ratio_KC[:, column] = np.log(p_K / p_K.sum()) - np.log(q_K / q_K.sum())
    # A bucket that no review touches is uninformative.
    ratio_KC[total_K == 0] = 0.0
    return ratio_KC


def _count(
    part: Part,
    reader: RowGroupReader,
    options: NgramOptions,
    num_classes: int,
    bits: int,
    soft_targets_UC: Tensor | None,
    check_stop: Callable[[], None],
) -> npt.NDArray[Any]:
    """Number of reviews of each class with each bucket: (K, C), int32, or float32 with soft targets."""
    counts_N = np.zeros((1 << bits) * num_classes, np.int32 if soft_targets_UC is None else np.float32)
    counts_KC = counts_N.reshape(-1, num_classes)
    with batches(EvaluationPlan(part.rows_per_group, COUNT_ROWS), reader, options.loader) as stream:
        for batch in stream:
            found = _buckets(batch, options.ngrams, bits)
            per_review_B = np.diff(found.bounds)
            if soft_targets_UC is None:
                labels_N = np.repeat(batch.labels.numpy(), per_review_B)
                place, count = np.unique(found.values * np.int64(num_classes) + labels_N, return_counts=True)
                counts_N[place] += count.astype(np.int32)
            else:
                share_NC = np.repeat(_soft(batch.labels, soft_targets_UC).numpy(), per_review_B, axis=0)
                place, number_N = np.unique(found.values, return_inverse=True)
                for label in range(num_classes):
                    counts_KC[place, label] += np.bincount(number_N, share_NC[:, label])
            check_stop()
    return counts_KC


def _learn(
    part: Part,
    reader: RowGroupReader,
    options: NgramOptions,
    ratio_KC: Tensor,
    bits: int,
    soft_targets_UC: Tensor | None,
    check_stop: Callable[[], None],
) -> tuple[Tensor, Tensor]:
    """The weights v (K, columns) and the bias (columns,) after `epochs` passes, in training order."""
    weights_KC = torch.zeros_like(ratio_KC, requires_grad=True)
    bias_C = torch.zeros(ratio_KC.shape[1], requires_grad=True)
    optimizers = (RowAdam([weights_KC], options.lr), torch.optim.Adam([bias_C], options.lr))
    class_weights = None if options.class_weights is None else torch.tensor(options.class_weights)
    order = OrderOptions(batch_size=options.batch_size, seed=options.seed)
    for epoch in range(options.epochs or default_epochs(part.rows, options.batch_size)):
        with batches(TrainPlan(Order(part.rows_per_group, order, epoch)), reader, options.loader) as stream:
            for batch in stream:
                targets = batch.labels if soft_targets_UC is None else _soft(batch.labels, soft_targets_UC)
                _step(weights_KC, bias_C, ratio_KC, class_weights, batch, targets, _buckets(batch, options.ngrams, bits))
                for optimizer in optimizers:
                    optimizer.step()
                check_stop()
    return weights_KC.detach(), bias_C.detach()


def _soft(labels_B: Tensor, soft_targets_UC: Tensor) -> Tensor:
    """The target distributions (B, C) of rows with labels or numbers of soft targets: see `DecodedGroup`."""
    hard_BC = functional.one_hot(labels_B.clamp_min(0), soft_targets_UC.shape[1]).to(soft_targets_UC.dtype)
    return torch.where((labels_B >= 0)[:, None], hard_BC, soft_targets_UC[(-1 - labels_B).clamp_min(0)])


def _step(
    weights_KC: Tensor,
    bias_C: Tensor,
    ratio_KC: Tensor,
    class_weights: Tensor | None,
    batch: Batch,
    targets: Tensor,
    found: Buckets,
) -> None:
    """Sets the gradients of a batch's mean loss; the weights' gradient has a row for each bucket of each review.

    `targets`: labels (B,) or distributions (B, C).
    """
    bucket_N = torch.from_numpy(found.values.astype(np.int64))
    review_N = torch.repeat_interleave(torch.from_numpy(np.diff(found.bounds)))
    ratio_NC = ratio_KC[bucket_N]
    with torch.no_grad():
        scores_BC = bias_C.expand(batch.rows, -1).clone()
        scores_BC.index_add_(0, review_N, weights_KC[bucket_N] * ratio_NC)
    scores_BC.requires_grad_()
    logits_BC = torch.cat([-scores_BC / 2, scores_BC / 2], dim=1) if scores_BC.shape[1] == 1 else scores_BC
    loss_sum = functional.cross_entropy(logits_BC, targets, weight=class_weights, reduction="sum")
    (loss_sum / batch.rows).backward()  # type: ignore[no-untyped-call]
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
