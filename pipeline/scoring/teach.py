"""A teacher's soft targets: a trained model reads the rows of token shards that a training needs, once (`lake.targets`)."""

import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake.atomic import atomic_path
from pipeline.lake.damage import REPAIR
from pipeline.lake.paths import Lake
from pipeline.lake.shards import open_shard
from pipeline.lake.targets import Probabilities, TargetReader, TargetWriter, target_path
from pipeline.models.bundle import Bundle
from pipeline.order.selection import Part, RowGroup
from pipeline.progress import Progress, track
from pipeline.scoring.predictor import Pending, Predictor
from schemas.vocabulary import UNK_ID

log = logging.getLogger(__name__)

AHEAD = 4
"""Row groups that are read while earlier ones are being scored."""

Groups = Sequence[tuple[RowGroup, npt.NDArray[np.int64]]]
"""The row groups of a shard, and the rows needed of each."""


@dataclass
class TargetStore:
    """A teacher and its soft targets in a lake."""

    lake: Lake
    bundle: Bundle
    device: str = "auto"
    check_stop: Callable[[], None] = lambda: None
    scored: int = field(default=0, init=False)
    """Rows that the teacher has read for this store."""

    def complete(self, part: Part) -> None:
        """Scores the rows of a part that have no targets yet.

        Memory is bounded by a few row groups. A run that is stopped keeps the shards that are done.

        Raises:
            DataError: a shard or the teacher is damaged, or the teacher's probabilities are not finite.
            StoppedError: `check_stop` raised it.
            CannotWriteError: no permission, no space.
        """
        lacking = [(path, groups) for path, groups in _by_shard(part) if self._lacks(path, groups)]
        if not lacking:
            return
        rows = sum(len(rows) for _, groups in lacking for _, rows in groups)
        with Predictor(self.bundle, self.device) as predictor, track("teach", rows) as progress:
            for path, groups in lacking:
                self._score(path, groups, predictor, progress)

    def read(self, part: Part) -> Probabilities:
        """The probabilities (N, C) of the N rows of a part that was completed, in its order.

        Raises:
            InputNotFoundError: a file is gone.
            DataError: a file is damaged, or lacks a row.
        """
        found = [np.zeros((0, len(self.bundle.labels)), np.float32)]
        for path, groups in _by_shard(part):
            target = self._target(path)
            try:
                with self._reader(target, groups) as reader:
                    found += [reader.read(group.index)[rows] for group, rows in groups if len(rows)]
            except FileNotFoundError:
                raise InputNotFoundError(f"the soft targets {target} were removed. Run the command again.") from None
        probability_NC = np.concatenate(found)
        if np.isnan(probability_NC).any():
            raise DataError(f"soft targets in {self.lake.targets} lack rows. Delete the folder, and run the command again.")
        return probability_NC

    def _target(self, shard: Path) -> Path:
        return target_path(self.lake, self.bundle.content_key, shard)

    def _reader(self, target: Path, groups: Groups) -> TargetReader:
        return TargetReader(target, [group.rows for group, _ in groups], len(self.bundle.labels))

    def _lacks(self, shard: Path, groups: Groups) -> bool:
        """Whether a row that is needed has no targets."""
        try:
            with self._reader(self._target(shard), groups) as reader:
                return any(np.isnan(reader.read(group.index)[rows]).any() for group, rows in groups if len(rows))
        except FileNotFoundError:
            return True
        except DataError as error:
            log.warning("%s", str(error).partition(". ")[0] + ": writing them again")
            self._target(shard).unlink(missing_ok=True)
            return True

    def _score(self, shard: Path, groups: Groups, predictor: Predictor, progress: Progress) -> None:
        """Writes a shard's targets again, with those that were lacking."""
        target = self._target(shard)
        predictor.begin()
        with ExitStack() as stack:
            file = stack.enter_context(open_shard(shard))
            before = stack.enter_context(self._reader(target, groups)) if target.exists() else None
            temporary = stack.enter_context(atomic_path(target))
            writer = stack.enter_context(TargetWriter(temporary, self.bundle.content_key, shard))
            waiting: deque[tuple[Probabilities, npt.NDArray[np.int64], Pending]] = deque()
            for group, rows in groups:
                self.check_stop()
                known_NC = np.full((group.rows, len(self.bundle.labels)), np.nan, np.float32)
                if before is not None:
                    known_NC = before.read(group.index)
                new = rows[np.isnan(known_NC[rows]).any(axis=1)]
                ids = file.read_row_group(group.index, columns=["ids"], use_threads=False).column(0).take(pa.array(new))
                waiting.append((known_NC, new, predictor.submit(self._checked(ids, shard))))
                progress.advance(len(rows))
                if len(waiting) > AHEAD:
                    self._write(writer, *waiting.popleft())
            while waiting:
                self._write(writer, *waiting.popleft())

    def _write(self, writer: TargetWriter, known_NC: Probabilities, new: npt.NDArray[np.int64], pending: Pending) -> None:
        known_NC[new] = pending.result()
        writer.write(known_NC)
        self.scored += len(new)

    def _checked(self, ids: pa.ChunkedArray, shard: Path) -> pa.ListArray:
        """Lists of ids, none of them null, within the teacher's vocabulary."""
        lists = pa.concat_arrays(ids.chunks) if ids.num_chunks else pa.array([], ids.type)
        if lists.null_count:
            lists = pc.fill_null(lists, pa.scalar([UNK_ID], lists.type))
        values = lists.flatten()
        size = len(self.bundle.load_vocabulary())
        if len(values) and not 0 <= pc.min(values).as_py() <= pc.max(values).as_py() < size:
            raise DataError(
                f"the token shard {shard} contains IDs that are not in its vocabulary of {size} tokens. {REPAIR}"
            )
        return lists


def _by_shard(part: Part) -> Iterator[tuple[Path, Groups]]:
    """The shards that a part has rows of, each with all of its row groups."""
    pairs = zip(part.groups, part.selected, strict=True)
    for path, groups in itertools.groupby(pairs, key=lambda pair: pair[0].path):
        listed = list(groups)
        if any(len(rows) for _, rows in listed):
            yield path, listed
