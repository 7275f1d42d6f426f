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


class Answers(Protocol):
    """What the selection needs from what is learned; see `pipeline.tasks.base.Task`."""

    @property
    def column(self) -> str | None:
        """The column with the targets; None if every review is its own target."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits whose rows may become the training part."""

    def read(self, column: pa.ChunkedArray, where: str) -> npt.NDArray[Any]:
        """The targets (N,) in a column of the shard `where`."""

    def strata(self, targets_N: npt.NDArray[Any]) -> Ints:
        """The class of rows that each belongs to, from 0; -1 without a target."""

    def summary(self, targets_N: npt.NDArray[Any]) -> list[float]:
        """What is to be known of the training part."""

    def nothing_to_learn(self) -> str:
        """The error where no row has a target."""


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
    column: str | None = "label"
    """The shards' column with the rows' targets; None if there is none."""

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
    """The row groups considered, each row's part as a code (see `PARTS`), and the column with the targets."""

    groups: tuple[RowGroup, ...]
    codes: npt.NDArray[np.uint8]
    column: str | None = "label"

    def part(self, *names: str) -> Part:
        """The rows of one part, or of several together."""
        codes = [_CODES[name] for name in names]
        bounds = np.cumsum([0, *(group.rows for group in self.groups)])
        by_group = [self.codes[begin:end] for begin, end in itertools.pairwise(bounds)]
        selected = tuple(np.flatnonzero(np.isin(rows, codes)).astype(np.int64) for rows in by_group)
        if UNLABELLED not in names:
            return Part(self.groups, selected, column=self.column)
        code = _CODES[UNLABELLED]
        unlabelled = tuple(int(np.count_nonzero(rows == code)) for rows in by_group)
        return Part(self.groups, selected, unlabelled, self.column)


_CODES = {name: code for code, name in enumerate((*PARTS, UNLABELLED), start=1)}


def read_shards(shards: Sequence[Shard], answers: Answers, unlabelled: float = 0.0) -> list[Shard]:
    """The shards to select from; those with only unlabelled reviews are included only if they are learned from."""
    return [shard for shard in shards if shard.split in (*PARTS, *answers.splits) or unlabelled]


def row_groups(shards: Sequence[Shard]) -> tuple[RowGroup, ...]:
    """The row groups of shards, in order."""
    return tuple(RowGroup(shard.path, index, rows) for shard in shards for index, rows in enumerate(shard.row_groups))


def select(
    shards: Sequence[Shard],
    answers: Answers,
    valid_fraction: float,
    fold: Fold | None = None,
    unlabelled: float = 0.0,
    holdout: float = 0.0,
    at_least: int = 0,
) -> tuple[Selection, list[float]]:
    """Reads the deciding columns and assigns every row to a part.

    The test part is the split `test` if it has labelled rows, else a part of `train` (see `holdout`).
    The validation part is the split `valid` if it has labelled rows, else a part of the rest of `train`.
    With a fold, the test part is that fold of the split `train`, and the split `test` is not used.

    Args:
        answers: what is learned; "labelled" below means a row with a target.
        unlabelled: number of unlabelled reviews of the splits train and unsup for each labelled one of the training part; if
            there are more, they are picked evenly.
        holdout: share of the groups of `train` that become the test part where there is no other; 0 for none. Unlabelled
            reviews of these groups are not learned from either. If too little would be left to learn from, or too little
            held out to say anything, there is no test part.
        at_least: number of unlabelled reviews to use even if that is more than `unlabelled` says, which is then not 0.

    Returns:
        the selection, and what the task has to know of the training part, such as the rows of each label.

    Raises:
        DataError: no labelled row, only one class, a label out of range, or no validation part is possible.
    """
    shards = read_shards(shards, answers, unlabelled)
    targets, splits = _targets(shards, answers)
    labels = answers.strata(targets)
    labelled = (labels >= 0) & (splits > 0)
    codes = np.where(labelled, splits, 0).astype(np.uint8)
    learnable = (labels < 0) & _in_splits(shards, LEARNED_SPLITS)
    if fold is not None:
        held = _held_out(shards, fold)
        learnable[held] = False
        _hold_out(codes, held, fold)
    if not (codes == 1).any():
        raise DataError(answers.nothing_to_learn())
    hashes = np.zeros(0, np.uint64) if (codes == 2).any() else _unit_hashes(shards, answers.splits)
    if holdout and fold is None and not (codes == 3).any():
        in_holdout = _in_holdout(shards, holdout)
        if (kept := _without(codes, labels, in_holdout, hashes, valid_fraction)) is not None:
            codes = kept
            learnable &= ~in_holdout
    if len(hashes):
        _choose_validation(codes, labels, hashes, valid_fraction)
    summary = answers.summary(targets[codes == 1])
    if unlabelled:
        candidates = np.flatnonzero(learnable)
        most = min(len(candidates), max(at_least, round(unlabelled * int((codes == 1).sum()))))
        codes[candidates[even_bounds(len(candidates), most)[:most]]] = _CODES[UNLABELLED]
    return Selection(row_groups(shards), codes, answers.column), summary


def select_as_trained(shards: Sequence[Shard], answers: Answers, training: Mapping[str, Any]) -> Selection:
    """The parts of a model's training; `training`: what its bundle says about it.

    Raises:
        DataError: see `select`.
    """
    fold = training.get("fold")
    share = float(training.get("valid_fraction", 0.1))
    holdout = float(training.get("holdout", 0.0))
    return select(shards, answers, share, Fold.parse(fold) if fold else None, holdout=holdout)[0]


def has_labelled(shards: Sequence[Shard], split: str, answers: Answers) -> bool:
    """Whether a split has a review with a target.

    Raises:
        InputNotFoundError, DataError: a shard is gone or damaged.
    """
    columns = (column for shard in shards if shard.split == split for column in _target_columns(shard, answers.column))
    return any(column.null_count < len(column) for column in columns)


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
        text = "no reviews are held out as the test part: %d labelled ones fall into it, and at least %d are needed"
        log.info(text, rows, FEWEST_ROWS)
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


def _targets(shards: Sequence[Shard], answers: Answers) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Targets of all rows, and the code of the split: 0 if it has no part."""
    targets = [answers.read(pa.chunked_array([], pa.null()), "")]
    splits = [np.zeros(0, np.uint8)]
    learned = dict.fromkeys(answers.splits, _CODES["train"])
    for shard in shards:
        code = {**learned, **_CODES}.get(shard.split, 0)
        for column in _target_columns(shard, answers.column):
            targets.append(answers.read(column, str(shard.path)))
            splits.append(np.full(len(column), code, dtype=np.uint8))
    return np.concatenate(targets), np.concatenate(splits)


def _target_columns(shard: Shard, name: str | None) -> Iterator[pa.ChunkedArray]:
    """The column of each row group; nulls if the shard has no such column, or if none is needed."""
    if name is None:
        yield from (pa.chunked_array([pa.nulls(rows)]) for rows in shard.row_groups)
        return
    for rows, table in zip(shard.row_groups, _row_groups(shard, [name]), strict=True):
        yield table[name] if name in table.column_names else pa.chunked_array([pa.nulls(rows)])


def _unit_hashes(shards: Sequence[Shard], splits: tuple[str, ...]) -> npt.NDArray[np.uint64]:
    hashes = []
    for shard in shards:
        if shard.split not in splits:
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
    answers: Answers,
    valid_fraction: float,
    fold: Fold | None = None,
    unlabelled: float = 0.0,
    holdout: float = 0.0,
    at_least: int = 0,
) -> tuple[Selection, list[float]]:
    """`select` on the main rank only; the others receive one byte per row from it."""

    def make() -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
        selection, summary = select(shards, answers, valid_fraction, fold, unlabelled, holdout, at_least)
        return {"summary": summary}, selection.codes

    values, codes = world.from_main(make)
    return Selection(row_groups(read_shards(shards, answers, unlabelled)), codes, answers.column), values["summary"]


def select_text(
    shards: Sequence[Shard], answers: Answers, valid_fraction: float, fold: Fold | None = None, holdout: float = 0.0
) -> Selection:
    """The parts of a training that learns from text without labels: `train` and `valid`.

    The validation part is the split `valid`, else the reviews that `select` would validate a classifier on; without
    labelled reviews, groups by their hash. The training part is all other reviews of the splits train and unsup. What a
    training with this fold, or this share of groups, held out is tested on is in neither; nor is the split `test`.

    Raises:
        DataError: one of the parts would be empty.
    """
    shards = read_shards(shards, answers, unlabelled=1.0)
    targets, splits = _targets(shards, answers)
    labels = answers.strata(targets)
    learned = _in_splits(shards, LEARNED_SPLITS)
    if fold is not None:
        learned[_held_out(shards, fold)] = False
    elif holdout:
        learned &= ~_in_holdout(shards, holdout)
    codes = learned.astype(np.uint8)
    codes[splits == _CODES["valid"]] = _CODES["valid"]
    if not (codes == _CODES["valid"]).any():
        codes[
            _validation_text(
                shards, learned, np.where(splits == _CODES["train"], labels, -1), valid_fraction, answers.splits
            )
        ] = _CODES["valid"]
    for name in ("train", "valid"):
        if not (codes == _CODES[name]).any():
            raise DataError(
                f"there are too few reviews to pretrain on: the {name} part has none. Ingest more reviews; those without "
                "labels count as well."
            )
    return Selection(row_groups(shards), codes, None)


def _validation_text(
    shards: Sequence[Shard], learned: npt.NDArray[np.bool_], labels: Ints, fraction: float, splits: tuple[str, ...]
) -> npt.NDArray[np.bool_]:
    """Which of the rows to validate on. `labels`: -1 for rows that no classifier learns from."""
    labelled = learned & (labels >= 0)
    if labelled.any():
        hashes = _unit_hashes(shards, splits)
        codes = labelled.astype(np.uint8)
        try:
            _choose_validation(codes, labels, hashes, fraction)
        except DataError:  # the groups are too large for a classifier's validation part, which also needs every label
            codes[:] = 0
        chosen: npt.NDArray[np.bool_] = codes == _CODES["valid"]
        if chosen.any():
            return chosen
    found: npt.NDArray[np.bool_] = _unit_hashes(shards, LEARNED_SPLITS) < np.uint64(fraction * 2**64)
    return found & learned


def shared_text(
    world: "FromMain",
    shards: Sequence[Shard],
    answers: Answers,
    valid_fraction: float,
    fold: Fold | None = None,
    holdout: float = 0.0,
) -> Selection:
    """`select_text` on the main rank only; the others receive one byte per row from it."""

    def make() -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
        return {}, select_text(shards, answers, valid_fraction, fold, holdout).codes

    _, codes = world.from_main(make)
    return Selection(row_groups(read_shards(shards, answers, unlabelled=1.0)), codes, None)
