"""Which rows of the shards are for training, validation and test. Reads only the columns that decide, not the IDs."""

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import DataError
from pipeline.lake.shards import Shard, open_shard
from pipeline.order.folds import Fold, folds_of
from pipeline.order.holdout import FEWEST_ROWS, MOST_SHARE, held_out
from pipeline.order.order import even_bounds
from pipeline.order.split import Hashes, Ints, choose_validation, unit_hashes

log = logging.getLogger(__name__)


class FromMain(Protocol):
    """What the selection needs from the processes that train together."""

    def from_main(self, make: Callable[[], tuple[Any, npt.NDArray[Any]]]) -> tuple[Any, npt.NDArray[Any]]:
        """The result of `make` on the main rank, on every rank."""


PARTS = ("train", "valid", "test")
"""Parts by their code minus one; code 0 is in no part."""
UNLABELLED = "unlabelled"
"""Unlabelled reviews that a network learns from: code 4."""
LEARNED_SPLITS = ("train", "unsup")
"""Splits whose unlabelled reviews may be used."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group of a shard; `rows` is the number of all its rows."""

    path: Path
    index: int
    rows: int


@dataclass(frozen=True)
class Part:
    """The selected rows of one part."""

    groups: tuple[RowGroup, ...]
    selected: tuple[Ints, ...]
    """For each row group, its selected rows, ascending."""
    soft_per_group: tuple[int, ...] = ()
    """Number of rows with a soft target, if there can be any: those without a label, or all of a group."""

    @cached_property
    def rows_per_group(self) -> tuple[int, ...]:
        """Number of selected rows of each row group."""
        return tuple(len(rows) for rows in self.selected)

    @property
    def rows(self) -> int:
        """Number of selected rows."""
        return sum(self.rows_per_group)

    def all_soft(self) -> "Part":
        """The same rows, each with a soft target in place of its label."""
        return replace(self, soft_per_group=self.rows_per_group)


@dataclass(frozen=True)
class Selection:
    """The row groups considered, and each row's part as a code (see `PARTS`)."""

    groups: tuple[RowGroup, ...]
    codes: npt.NDArray[np.uint8]

    def part(self, *names: str) -> Part:
        """The rows of one part, or of several together."""
        codes = [_CODES[name] for name in names]
        bounds = np.cumsum([0, *(group.rows for group in self.groups)])
        by_group = [self.codes[begin:end] for begin, end in itertools.pairwise(bounds)]
        selected = tuple(np.flatnonzero(np.isin(rows, codes)).astype(np.int64) for rows in by_group)
        if UNLABELLED not in names:
            return Part(self.groups, selected)
        code = _CODES[UNLABELLED]
        return Part(self.groups, selected, tuple(int(np.count_nonzero(rows == code)) for rows in by_group))


_CODES = {name: code for code, name in enumerate((*PARTS, UNLABELLED), start=1)}


def read_shards(shards: Sequence[Shard], unlabelled: float = 0.0) -> list[Shard]:
    """The shards to select from; those with only unlabelled reviews are included only if requested."""
    return [shard for shard in shards if shard.split in PARTS or unlabelled]


def row_groups(shards: Sequence[Shard]) -> tuple[RowGroup, ...]:
    """The row groups of shards, in order."""
    return tuple(RowGroup(shard.path, index, rows) for shard in shards for index, rows in enumerate(shard.row_groups))


def select(
    shards: Sequence[Shard],
    num_labels: int,
    valid_fraction: float,
    fold: Fold | None = None,
    unlabelled: float = 0.0,
    holdout: float = 0.0,
    at_least: int = 0,
) -> tuple[Selection, Ints]:
    """Reads the deciding columns and assigns every row to a part.

    The test part is the split `test` if it has labelled rows, else a part of `train` (see `holdout`).
    The validation part is the split `valid` if it has labelled rows, else a part of the rest of `train`.
    With a fold, the test part is that fold of the split `train`, and the split `test` is not used.

    Args:
        unlabelled: number of unlabelled reviews of the splits train and unsup for each labelled one of the training part; if
            there are more, they are picked evenly.
        holdout: share of the groups of `train` that become the test part where there is no other; 0 for none. Unlabelled
            reviews of these groups are not learned from either. If too little would be left to learn from, or too little
            held out to say anything, there is no test part.
        at_least: number of unlabelled reviews to use even if that is more than `unlabelled` says, which is then not 0.

    Returns:
        the selection, and the rows of each label in the training part (num_labels,).

    Raises:
        DataError: no labelled row, only one class, a label out of range, or no validation part is possible.
    """
    shards = read_shards(shards, unlabelled)
    labels, splits = _labels(shards, num_labels)
    labelled = (labels >= 0) & (splits > 0)
    codes = np.where(labelled, splits, 0).astype(np.uint8)
    learnable = (labels < 0) & _in_splits(shards, LEARNED_SPLITS)
    if fold is not None:
        held = _held_out(shards, fold)
        learnable[held] = False
        _hold_out(codes, held, fold)
    if not (codes == 1).any():
        raise DataError(
            "the split 'train' has no labelled reviews, so there is nothing to learn from. "
            "Ingest reviews with labels (aclImdb's folders, or --label-column)."
        )
    hashes = np.zeros(0, np.uint64) if (codes == 2).any() else _unit_hashes(shards)
    if holdout and fold is None and not (codes == 3).any():
        in_holdout = _in_holdout(shards, holdout)
        if (kept := _without(codes, labels, in_holdout, hashes, valid_fraction)) is not None:
            codes = kept
            learnable &= ~in_holdout
    if len(hashes):
        _choose_validation(codes, labels, hashes, valid_fraction)
    counts = np.bincount(labels[codes == 1], minlength=num_labels).astype(np.int64)
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"the training part has only one class (rows by label: {counts.tolist()}); a classifier needs two. "
            "Also ingest reviews with another label."
        )
    if unlabelled:
        candidates = np.flatnonzero(learnable)
        most = min(len(candidates), max(at_least, round(unlabelled * int(counts.sum()))))
        codes[candidates[even_bounds(len(candidates), most)[:most]]] = _CODES[UNLABELLED]
    return Selection(row_groups(shards), codes), counts


def select_as_trained(shards: Sequence[Shard], num_labels: int, training: Mapping[str, Any]) -> Selection:
    """The parts of a model's training; `training`: what its bundle says about it.

    Raises:
        DataError: see `select`.
    """
    fold = training.get("fold")
    share = float(training.get("valid_fraction", 0.1))
    holdout = float(training.get("holdout", 0.0))
    return select(shards, num_labels, share, Fold.parse(fold) if fold else None, holdout=holdout)[0]


def has_labelled(shards: Sequence[Shard], split: str) -> bool:
    """Whether a split has a labelled review.

    Raises:
        InputNotFoundError, DataError: a shard is gone or damaged.
    """
    tables = (table for shard in shards if shard.split == split for table in _row_groups(shard, ["label"]))
    return any(table["label"].null_count < len(table) for table in tables)


def _choose_validation(codes: npt.NDArray[np.uint8], labels: Ints, hashes: Hashes, fraction: float) -> None:
    """Moves a part of the training rows to the validation part, in place."""
    candidates = codes == 1
    codes[candidates] = np.where(choose_validation(hashes[candidates], labels[candidates], fraction), 2, 1)


def _without(
    codes: npt.NDArray[np.uint8], labels: Ints, held: npt.NDArray[np.bool_], hashes: Hashes, valid_fraction: float
) -> npt.NDArray[np.uint8] | None:
    """The codes with held-out training rows in the test part; None, which is logged, where that is not possible."""
    train = codes == 1
    rows, of = int((held & train).sum()), int(train.sum())
    if rows < FEWEST_ROWS:
        log.info("%d labelled reviews would be held out as the test part; under %d, none are", rows, FEWEST_ROWS)
        return None
    codes = np.where(held & train, 3, codes).astype(np.uint8)
    before, after = np.bincount(labels[train]), np.bincount(labels[codes == 1], minlength=int(labels.max()) + 1)
    possible = rows <= MOST_SHARE * of and (after[: len(before)] >= np.minimum(before, 2)).all()
    if possible and len(hashes):
        try:
            _choose_validation(codes.copy(), labels, hashes, valid_fraction)
        except DataError:
            possible = False
    if not possible:
        log.warning(
            "no reviews are held out as the test part: of %s labelled ones, the groups to hold out have %s, and too few of "
            "a label would be left to learn from. Ingest more reviews, finer groups (--group-column), or a 'test' split "
            "(--split).",
            f"{of:,}",
            f"{rows:,}",
        )
        return None
    return codes


def _in_holdout(shards: Sequence[Shard], share: float) -> npt.NDArray[np.bool_]:
    """Whether each row is in a group that is held out; only in the splits that are learned from."""
    held = []
    for shard in shards:
        if shard.split not in LEARNED_SPLITS:
            held.append(np.zeros(shard.rows, np.bool_))
            continue
        for table in _row_groups(shard, ["review_id", "group"]):
            held.append(held_out(table["review_id"].to_pylist(), table["group"].to_pylist(), share))
    return np.concatenate(held)


def _held_out(shards: Sequence[Shard], fold: Fold) -> Ints:
    """The rows of a fold of the split `train`."""
    folds = [
        folds_of(table["review_id"].to_pylist(), table["group"].to_pylist(), fold.count)
        for shard in shards
        if shard.split == "train"
        for table in _row_groups(shard, ["review_id", "group"])
    ]
    of_train = np.flatnonzero(_in_splits(shards, ("train",)))
    return of_train[np.concatenate(folds) == fold.index] if folds else of_train


def _hold_out(codes: npt.NDArray[np.uint8], held: Ints, fold: Fold) -> None:
    """Makes the rows of a fold the test part, in place.

    Raises:
        DataError: the fold has no labelled row.
    """
    codes[codes == 3] = 0
    codes[held] = np.where(codes[held] == 1, 3, 0)
    if not (codes == 3).any():
        raise DataError(
            f"fold {fold} has no labelled reviews of the split 'train': there are too few reviews or groups. Use fewer "
            "folds."
        )


def _in_splits(shards: Sequence[Shard], splits: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Whether each row is in one of these splits."""
    found = [np.full(shard.rows, shard.split in splits) for shard in shards]
    return np.concatenate(found) if found else np.zeros(0, np.bool_)


def _labels(shards: Sequence[Shard], num_labels: int) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """Labels of all rows (-1 for null), and the code of the split: 0 if it has no part."""
    labels, splits = [], []
    for shard in shards:
        for table in _row_groups(shard, ["label"]):
            column = table["label"].fill_null(-1).to_numpy().astype(np.int64)
            if len(column) and (column.max() >= num_labels or column.min() < -1):
                raise DataError(
                    f"{shard.path} has labels from {column.min()} to {column.max()}, but the vocabulary has {num_labels} "
                    "labels. Shards and vocabulary do not match; ingest again with --rebuild-vocab."
                )
            labels.append(column)
            splits.append(np.full(len(column), _CODES.get(shard.split, 0), dtype=np.uint8))
    if not labels:
        return np.zeros(0, np.int64), np.zeros(0, np.uint8)
    return np.concatenate(labels), np.concatenate(splits)


def _unit_hashes(shards: Sequence[Shard]) -> npt.NDArray[np.uint64]:
    hashes = []
    for shard in shards:
        if shard.split != "train":
            hashes.append(np.zeros(shard.rows, dtype=np.uint64))
            continue
        for table in _row_groups(shard, ["review_id", "group"]):
            hashes.append(unit_hashes(table["review_id"].to_pylist(), table["group"].to_pylist()))
    return np.concatenate(hashes)


def _row_groups(shard: Shard, columns: list[str]) -> Iterator[pa.Table]:
    with open_shard(shard.path) as file:
        for index in range(file.metadata.num_row_groups):
            yield file.read_row_group(index, columns=columns, use_threads=False)


def shared_selection(
    world: "FromMain",
    shards: Sequence[Shard],
    num_labels: int,
    valid_fraction: float,
    fold: Fold | None = None,
    unlabelled: float = 0.0,
    holdout: float = 0.0,
    at_least: int = 0,
) -> tuple[Selection, Ints]:
    """`select` on the main rank only; the others receive one byte per row from it."""

    def make() -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
        selection, counts = select(shards, num_labels, valid_fraction, fold, unlabelled, holdout, at_least)
        return {"counts": counts.tolist()}, selection.codes

    values, codes = world.from_main(make)
    return Selection(row_groups(read_shards(shards, unlabelled)), codes), np.asarray(values["counts"], dtype=np.int64)
