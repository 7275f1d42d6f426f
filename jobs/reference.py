"""The reference of a trained model: how the reviews look that it was not trained on.

Reviews of the training part would not do: a model is surer of what it has learned by heart than of anything it will score,
so every honest night would seem to drift.

The vocabulary, however, has counted the words of the validation part. A word that occurs nowhere else is known only
because of that. So each review's unknown tokens are counted as if its group had not been there when the vocabulary was
built: a token is unknown, too, if the vocabulary would not have it without the group's own occurrences (leave-one-out, as in
the estimate of unseen words by Good 1953).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.illustrate import HELD_OUT
from pipeline.datapipes.part_rows import read_part, rows_of
from pipeline.models.bundle import read_bundle
from pipeline.order.selection import LEARNED_SPLITS, Part
from pipeline.order.split import unit_hashes
from pipeline.progress import track
from pipeline.scoring.drift import Reference, Reviews, make_reference
from pipeline.scoring.predictor import Predictor
from pipeline.scoring.reference import write_reference
from pipeline.text.vocabulary import Vocabulary
from schemas.vocabulary import SPECIALS

MOST_ROWS = 10_000
"""A larger held-out part is represented by as many whole groups."""

Hashes = NDArray[np.uint64]


def refer(folder: Path, vocabulary: Vocabulary, parts: Mapping[str, Part]) -> None:
    """Writes the reference into the unfinished bundle `folder`. `parts`: train, valid and test.

    Raises:
        InputNotFoundError, DataError: a shard is gone or damaged.
    """
    with Predictor(read_bundle(folder)) as predictor:
        write_reference(folder, reference_of(predictor, vocabulary, [parts[name] for name in HELD_OUT]))


def reference_of(predictor: Predictor, vocabulary: Vocabulary, parts: Sequence[Part]) -> Reference:
    """The reference that the rows of these parts make, by the predictor's model."""
    found: list[Reviews] = []
    words = _Words(vocabulary)
    kept = whole_groups(parts, MOST_ROWS)
    with track("describing held-out reviews", sum(part.rows for part in kept)) as progress:
        for part in kept:
            for table in read_part(part, ["ids", "split", "review_id", "group"]):
                ids = table["ids"].combine_chunks()
                is_filled = np.diff(ids.offsets.to_numpy()) > 0
                found.append(Reviews.of(ids, predictor.predict(ids)))
                words.add(
                    ids, _units(table)[is_filled], pc.is_in(table["split"], pa.array(LEARNED_SPLITS)).to_numpy()[is_filled]
                )
                progress.advance(len(table))
    length_N, unknown_N, probability_NC = (
        np.concatenate(arrays)
        for arrays in zip(*((one.length_N, one.unknown_N, one.probability_NC) for one in found), strict=True)
    )
    # Scoring makes no prediction without a known token.
    probability_NC[unknown_N == length_N] = np.nan
    return make_reference(Reviews(length_N, unknown_N + words.known_by_themselves(), probability_NC), words.units())


def whole_groups(parts: Sequence[Part], most: int) -> list[Part]:
    """The parts, or those of their groups that have `most` rows together: the ones with the smallest hashes."""
    units = [
        np.concatenate([np.zeros(0, np.uint64), *map(_units, read_part(part, ["review_id", "group"]))]) for part in parts
    ]
    distinct, sizes = np.unique(np.concatenate(units), return_counts=True)
    fit = int(np.searchsorted(np.cumsum(sizes), most, side="right"))
    if fit == len(distinct):
        return list(parts)
    last = distinct[max(fit, 1) - 1]
    return [rows_of(part, np.flatnonzero(unit_N <= last)) for part, unit_N in zip(parts, units, strict=True)]


def _units(table: pa.Table) -> Hashes:
    """What each row belongs to: its group, or itself."""
    return unit_hashes(table["review_id"].to_pylist(), table["group"].to_pylist())


class _Words:
    """Collects the tokens of reviews, to find those that the vocabulary has because of one group alone."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.size = len(vocabulary)
        self.count_V = vocabulary.counts.to_numpy(zero_copy_only=False)
        self.least, self.is_before_cut_V = _cut(vocabulary)
        self.rows = 0
        self._keys: list[NDArray[np.int64]] = []
        self._numbers: list[NDArray[np.int64]] = []
        self._units: list[Hashes] = [np.zeros(0, np.uint64)]
        self._was_counted: list[NDArray[np.bool_]] = []

    def add(self, ids: pa.ListArray, unit_N: Hashes, was_counted_N: NDArray[np.bool_]) -> None:
        """Adds reviews; `unit_N` and `was_counted_N`, whether the vocabulary counts such rows, are of those with tokens."""
        lengths = np.diff(ids.offsets.to_numpy())
        row_of_token = np.repeat(self.rows + np.arange(len(unit_N)), lengths[lengths > 0])
        keys, numbers = np.unique(row_of_token * self.size + ids.flatten().to_numpy(), return_counts=True)
        self._keys.append(keys)
        self._numbers.append(numbers)
        self._units.append(unit_N)
        self._was_counted.append(was_counted_N)
        self.rows += len(unit_N)

    def units(self) -> Hashes:
        """The unit of each review with tokens."""
        return np.concatenate(self._units)

    def known_by_themselves(self) -> NDArray[np.int64]:
        """Tokens of each review that the vocabulary would not have without the review's group."""
        row, token = np.divmod(np.concatenate(self._keys), self.size)
        number = np.concatenate(self._numbers)
        unit = np.unique(self.units(), return_inverse=True)[1][row]
        pair = np.unique(unit * self.size + token, return_inverse=True)[1]
        in_unit = np.bincount(pair, number)[pair]
        elsewhere = self.count_V[token] - in_unit
        is_out = (elsewhere < self.least) | ((elsewhere == self.least) & ~self.is_before_cut_V[token])
        # Below 0, the review came after the vocabulary was built, which knew the word without it.
        alone = is_out & (elsewhere >= 0) & (token >= len(SPECIALS)) & np.concatenate(self._was_counted)[row]
        return np.bincount(row, number * alone, minlength=self.rows).astype(np.int64)


def _cut(vocabulary: Vocabulary) -> tuple[int, NDArray[np.bool_]]:
    """How often a token had to occur to get into the vocabulary, and which tokens (V,) would be in it with just so many
    occurrences: of these, a full vocabulary takes the first by the alphabet."""
    most = vocabulary.options.get("max_vocab", 0)
    words = len(vocabulary) - len(SPECIALS)
    if not most or words < most:
        return int(vocabulary.options.get("min_count", 1)), np.ones(len(vocabulary), np.bool_)
    is_before_cut = pc.less_equal(vocabulary.tokens, vocabulary.tokens[-1])
    return int(vocabulary.counts[-1].as_py()), is_before_cut.to_numpy(zero_copy_only=False)
