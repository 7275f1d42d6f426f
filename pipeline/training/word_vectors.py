"""Word vectors computed from the reviews, to initialise an embedding: which tokens occur near which others.

    M_wc = pairs of token w and context c, at most `window` places apart
    P_wc = max(0, log(M_wc / (Σ_c M_wc · p_c))),   p_c = (Σ_w M_wc)^0.75 / Σ_c (Σ_w M_wc)^0.75
    P ≈ U S Vᵀ,   vectors = U √S, scaled to a standard deviation of `std`

Labels are not used, so unlabelled reviews count as well. The contexts are the most frequent tokens, and both sides of P are
bounded, so memory is too: (`MOST_WORDS`, `contexts`) floats.

Source: Levy, Goldberg & Dagan 2015, "Improving distributional similarity with lessons learned from word embeddings",
sections 2 and 3; the SVD: Halko et al. 2011, "Finding structure with randomness", algorithm 4.4.
"""

import logging
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.order.plan import EvaluationPlan
from pipeline.order.selection import Part
from pipeline.progress import track
from schemas.vocabulary import PAD_ID, SPECIALS

log = logging.getLogger(__name__)

WINDOW = 5
CONTEXTS = 3000
MOST_WORDS = 40_000
"""Number of most frequent tokens that get a vector."""
MOST_TOKENS = 25_000_000
"""Maximum number of tokens to read unless more are asked for, which bounds the time."""
SMOOTHING = 0.75
BATCH_ROWS = 1024
OVERSAMPLED = 20
POWER_ITERATIONS = 3

Floats = npt.NDArray[np.float32]


def text_vectors(
    part: Part,
    *,
    vocab_size: int,
    dim: int,
    std: float,
    max_length: int,
    seed: int,
    loader: LoaderOptions,
    window: int = WINDOW,
    contexts: int = CONTEXTS,
    most_tokens: int = MOST_TOKENS,
    check_stop: Callable[[], None] = lambda: None,
) -> Floats:
    """A matrix (`vocab_size`, `dim`), row i for token i, for `ReviewClassifier.set_embedding`.

    Ids are ordered by frequency, as in vocabularies. Tokens without a vector (too rare, or never seen in
    `part`), and features beyond the rank of P, are drawn from a normal distribution; `<pad>` is zero.

    Raises:
        DataError: damaged shards.
    """
    started = time.perf_counter()
    words, contexts = min(vocab_size, MOST_WORDS), min(contexts, vocab_size - len(SPECIALS))
    counts_WC = _count(part, words, contexts, vocab_size, max_length, loader, window, most_tokens, check_stop)
    seen_W = counts_WC.any(axis=1)
    matrix_VE = np.random.default_rng(seed).normal(scale=std, size=(vocab_size, dim)).astype(np.float32)
    rank = min(dim, contexts)
    vectors_WE = _factorize(_positive_information(counts_WC), rank, seed)[seen_W]
    spread = float(vectors_WE.std()) if vectors_WE.size else 0.0
    if spread > 0:
        matrix_VE[np.flatnonzero(seen_W), :rank] = vectors_WE * (std / spread)
    matrix_VE[PAD_ID] = 0.0
    seconds = time.perf_counter() - started
    log.info("computed word vectors of %s tokens from the reviews, %.1f s", f"{int(seen_W.sum()):,}", seconds)
    return matrix_VE


def _count(
    part: Part,
    words: int,
    contexts: int,
    vocab_size: int,
    max_length: int,
    loader: LoaderOptions,
    window: int,
    most_tokens: int,
    check_stop: Callable[[], None],
) -> Floats:
    """M: float32 (words, contexts)."""
    counts = torch.zeros(words * contexts)
    reader = RowGroupReader(part, max_length, vocab_size)
    tokens = 0
    with (
        batches(EvaluationPlan(part.rows_per_group, BATCH_ROWS), reader, loader) as stream,
        track("word vectors", part.rows) as progress,
    ):
        for batch in stream:
            _count_batch(counts, batch.ids.long(), words, contexts, window)
            progress.advance(batch.rows)
            tokens += batch.tokens
            check_stop()
            if tokens >= most_tokens:
                break
    counts_WC: Floats = counts.view(words, contexts).numpy()
    return counts_WC


def _count_batch(counts: Tensor, ids_BT: Tensor, words: int, contexts: int, window: int) -> None:
    first = len(SPECIALS)
    is_word_BT = (ids_BT >= first) & (ids_BT < words)
    is_context_BT = (ids_BT >= first) & (ids_BT < first + contexts)
    for distance in range(1, min(window, ids_BT.shape[1] - 1) + 1):
        before, after = slice(None, -distance), slice(distance, None)
        for word, context in ((before, after), (after, before)):
            pair_BT = is_word_BT[:, word] & is_context_BT[:, context]
            place_N = ids_BT[:, word][pair_BT] * contexts + (ids_BT[:, context][pair_BT] - first)
            counts.index_add_(0, place_N, torch.ones(len(place_N)))


def _positive_information(counts_WC: Floats) -> Tensor:
    """P, in the memory of M."""
    counts = torch.from_numpy(counts_WC)
    of_word_W1 = counts.sum(dim=1, keepdim=True).clamp_min_(1.0)
    of_context_C = counts.sum(dim=0).pow_(SMOOTHING)
    share_C = of_context_C / of_context_C.sum().clamp_min(1e-12)
    # Without pairs, the logarithm is −∞, and 0 after the cut.
    return counts.div_(of_word_W1).div_(share_C.clamp_min(1e-12)).log_().clamp_min_(0.0)


def _factorize(matrix_WC: Tensor, rank: int, seed: int) -> Floats:
    """U √S of the largest singular values: float32 (W, rank)."""
    size = min(rank + OVERSAMPLED, *matrix_WC.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        left, values, _ = torch.svd_lowrank(matrix_WC, q=size, niter=POWER_ITERATIONS)
    vectors: Floats = (left[:, :rank] * values[:rank].sqrt()).numpy()
    return vectors
