"""Learns region features from text: the tokens of a region predict those that stand before and after it.

    h_t = relu(b + Σ_{|j| ≤ HALF} E[x_{t+j}]),   HALF < |k| ≤ HALF + CONTEXT
    loss_t = Σ_k (−log σ(h_t · O[x_{t+k}]) + NEGATIVES · mean_n −log σ(−h_t · O[n])),   n drawn with p(n) ∝ count(n)^0.75

The most frequent tokens stand near everything, so they are neither predicted nor drawn. Labels are not used. One thread
reads one block of positions after the other, in the same order everywhere, so the same text gives the same features
whatever the number of processes; their scale is such that they vary by `std`. O is thrown away.

The loop is compiled (`_regions.c`) if a compiler was available at installation, else in NumPy, with equal results up to
rounding.

Source: Johnson & Zhang 2015, "Semi-supervised convolutional neural networks for text categorization via region embedding",
sections 3.1 and 3.3; the loss: Mikolov et al. 2013, "Distributed representations of words and phrases", section 2.2; the
steps: AdaGrad (Duchi et al. 2011) with one sum for each row.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.models.layers.regions import HALF
from pipeline.order.plan import EvaluationPlan
from pipeline.order.selection import Part
from pipeline.progress import track
from pipeline.training.region_tables import CONTEXT, LANES, Rates, RegionTables, learn
from schemas.vocabulary import PAD_ID, SPECIALS

log = logging.getLogger(__name__)

PASSES = 2
TOKENS = 30_000_000
"""Small corpora are read more often than `PASSES` times, until this many tokens have been read."""
MOST_PASSES = 10
MOST_TOKENS = 50_000_000
"""Maximum number of different tokens to read, which bounds time and memory."""
FREQUENT = 100
"""Number of most frequent tokens that are not predicted."""
SMOOTHING = 0.75
RATE, LAST_RATE = 0.05, 0.001
START_STD = 0.1
CHUNK_TOKENS = 1 << 18
"""Tokens between two looks at whether to stop."""
BATCH_ROWS = 1024
MEASURED_TOKENS = 1 << 16
DRAWN = 1 << 20
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LearnedRegions:
    """E (V, R) and b (R,)."""

    weight: Floats
    bias: Floats


def learn_regions(
    part: Part,
    *,
    vocab_size: int,
    dim: int,
    std: float,
    max_length: int,
    seed: int,
    loader: LoaderOptions,
    check_stop: Callable[[], None] = lambda: None,
) -> LearnedRegions:
    """Region features of the text of a part, of standard deviation `std`.

    Tokens that never occur in the part have zeros in E.

    Raises:
        DataError: damaged shards.
    """
    started = time.perf_counter()
    reviews = _read(part, vocab_size, max_length, loader, check_stop)
    random = np.random.default_rng(seed)
    tables = _tables(reviews, vocab_size, dim, random)
    passes = min(MOST_PASSES, max(PASSES, TOKENS / max(reviews.tokens, 1)))
    wanted = int(passes * reviews.tokens)
    read, loss = 0, 0.0
    with track("region features", wanted, unit="tokens") as progress:
        while read < wanted:
            order = random.permutation(len(reviews.lengths))
            for chunk in reviews.chunks(order, CHUNK_TOKENS):
                chunk = chunk.cut(wanted - read)
                rates = Rates(*(max(RATE * (1 - at / wanted), LAST_RATE) for at in (read, read + chunk.tokens)))
                cost, pairs = learn(tables, chunk.ids, chunk.offsets, int(random.integers(2**63)), rates)
                loss = cost / pairs if pairs else loss
                read += chunk.tokens
                progress.advance(chunk.tokens)
                check_stop()
                if read >= wanted:
                    break
    weight_VR, bias_R = tables.weight[:, :dim].copy(), tables.bias[:dim].copy()
    weight_VR[~reviews.seen(vocab_size)] = 0.0
    weight_VR[PAD_ID] = 0.0
    spread = _spread(weight_VR, bias_R, reviews)
    if spread > 0:
        # relu is linear in a positive factor.
        weight_VR *= std / spread
        bias_R *= std / spread
    log.info(
        "learned %d region features from %s tokens in %.1f passes: loss %.3f, %.1f s",
        dim,
        f"{reviews.tokens:,}",
        wanted / max(reviews.tokens, 1),
        loss,
        time.perf_counter() - started,
    )
    return LearnedRegions(weight_VR, bias_R)


@dataclass(frozen=True)
class Reviews:
    """Token IDs of reviews, one after the other."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each review."""
        return np.diff(self.offsets)

    @property
    def tokens(self) -> int:
        """Tokens of all reviews."""
        return len(self.ids)

    def chunks(self, order: npt.NDArray[np.int64], most_tokens: int) -> Iterator["Reviews"]:
        """The reviews in this order, in chunks of about `most_tokens` tokens."""
        lengths = self.lengths[order]
        number = np.cumsum(lengths) // most_tokens
        for rows in np.split(order, np.flatnonzero(np.diff(number)) + 1):
            taken = self.lengths[rows]
            offsets = np.concatenate([[0], np.cumsum(taken)]).astype(np.int64)
            place = np.repeat(self.offsets[rows] - offsets[:-1], taken) + np.arange(offsets[-1])
            yield Reviews(self.ids[place], offsets)

    def cut(self, most_tokens: int) -> "Reviews":
        """The first reviews, up to `most_tokens` tokens, but at least one review."""
        count = max(1, int(np.searchsorted(self.offsets, most_tokens, side="right")) - 1)
        return self if count >= len(self.lengths) else Reviews(self.ids[: self.offsets[count]], self.offsets[: count + 1])

    def seen(self, vocab_size: int) -> npt.NDArray[np.bool_]:
        """Whether each token occurs."""
        found: npt.NDArray[np.bool_] = np.bincount(self.ids, minlength=vocab_size) > 0
        return found


def _read(part: Part, vocab_size: int, max_length: int, loader: LoaderOptions, check_stop: Callable[[], None]) -> Reviews:
    ids, lengths, tokens = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)], 0
    reader = RowGroupReader(part, max_length, vocab_size)
    with batches(EvaluationPlan(part.rows_per_group, BATCH_ROWS), reader, loader) as stream:
        for batch in stream:
            mask_BT = np.arange(batch.ids.shape[1]) < batch.lengths.numpy()[:, None]
            ids.append(batch.ids.numpy()[mask_BT])
            lengths.append(batch.lengths.numpy())
            tokens += batch.tokens
            check_stop()
            if tokens >= MOST_TOKENS:
                break
    return Reviews(np.concatenate(ids), np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64))


def _tables(reviews: Reviews, vocab_size: int, dim: int, random: np.random.Generator) -> RegionTables:
    """E starts at random, O and b at zero. Features beyond `dim` are zero everywhere, and stay so."""
    width = -(-dim // LANES) * LANES
    weight_VR = np.zeros((vocab_size, width), np.float32)
    weight_VR[:, :dim] = random.normal(scale=START_STD, size=(vocab_size, dim))
    weight_VR[PAD_ID] = 0.0
    counts_V = np.bincount(reviews.ids, minlength=vocab_size).astype(np.float64)
    frequent = min(len(SPECIALS) + FREQUENT, vocab_size // 2)
    counts_V[:frequent] = 0.0
    if not counts_V.any():
        counts_V[frequent:] = 1.0
    share_V = np.cumsum(counts_V**SMOOTHING)
    points = (np.arange(DRAWN) + 0.5) / DRAWN * share_V[-1]
    drawn = np.searchsorted(share_V, points, side="right").astype(np.int32)
    return RegionTables.starting_at(weight_VR, drawn, frequent=frequent, half=HALF, context=CONTEXT)


def _spread(weight_VR: Floats, bias_R: Floats, reviews: Reviews) -> float:
    """The standard deviation of the features over the first tokens."""
    ids = reviews.ids[:MEASURED_TOKENS]
    words = weight_VR[ids]
    total = words + bias_R
    for distance in range(1, HALF + 1):
        total[distance:] += words[:-distance]
        total[:-distance] += words[distance:]
    return float(np.maximum(total, 0.0).std()) if total.size else 0.0
