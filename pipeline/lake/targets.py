"""Files of soft targets: a teacher's probabilities for the rows of token shards (contract: `schemas.targets`).

There is one for each teacher and shard, so a grown table needs only its new shards scored. Shards never change, and neither
do teachers, so a file is never out of date; what is missing or damaged is written again.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake.atomic import PREFIX
from pipeline.lake.content import NAMED, READ_ERRORS, open_parquet
from pipeline.lake.damage import damaged
from pipeline.lake.paths import Lake
from schemas.contract import ContractError
from schemas.targets import KEY_SHARD, KEY_TEACHER, TARGETS

Probabilities = npt.NDArray[np.float32]
"""(N, C); NaN where the teacher has not read a row."""


def target_path(lake: Lake, teacher: str, shard: Path) -> Path:
    """The file of a teacher's targets for a shard, found by the shard's content."""
    return lake.targets / teacher / f"{shard_name(shard)}.parquet"


def shard_name(shard: Path) -> str:
    """The name that a shard's targets go by: its own, if that has a digest in it, else a digest of its content."""
    if NAMED.fullmatch(shard.name):
        return shard.stem
    with shard.open("rb") as file:
        return f"plain-{hashlib.file_digest(file, 'sha256').hexdigest()}"


def target_files(lake: Lake) -> list[Path]:
    """All files of targets, sorted."""
    return sorted(path for path in lake.targets.glob("[!.]*/*.parquet") if not path.name.startswith(PREFIX))


def is_needed(path: Path, lake: Lake, teachers: Collection[str]) -> bool:
    """Whether targets are of one of these teachers and of a shard of the table, of any version."""
    return path.parent.name in teachers and (lake.tokens / path.name).exists()


def targets_of(lake: Lake, shards: Collection[str]) -> list[Path]:
    """The targets of shards, by name, that are going, and those whose shard is gone already or is not the table's."""
    return [path for path in target_files(lake) if path.name in shards or not (lake.tokens / path.name).exists()]


class TargetWriter:
    """Writes a file of targets, a row group at a time; a context manager."""

    def __init__(self, path: Path, teacher: str, shard: Path) -> None:
        marks = {KEY_TEACHER: teacher.encode(), KEY_SHARD: shard.name.encode()}
        self._schema = TARGETS.schema.with_metadata({**TARGETS.metadata, **marks})
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", write_page_checksum=True)

    def write(self, probability_NC: Probabilities) -> None:
        """Adds the next row group of the shard."""
        rows, classes = probability_NC.shape
        offsets = np.arange(rows + 1, dtype=np.int32) * classes
        unread_N = np.isnan(probability_NC).any(axis=1)
        lists = pa.ListArray.from_arrays(offsets, probability_NC.ravel(), mask=pa.array(unread_N))
        table = pa.Table.from_arrays([lists.cast(self._schema.field(0).type)], schema=self._schema)
        self._writer.write_table(table, row_group_size=max(rows, 1))

    def __enter__(self) -> "TargetWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()


class TargetReader:
    """Reads a file of targets, a row group at a time; a context manager.

    Raises:
        DataError: it is damaged, or is not of the shard with these row groups.
        FileNotFoundError: there is none.
    """

    def __init__(self, path: Path, rows_per_group: Sequence[int], num_classes: int) -> None:
        self.path = path
        self.num_classes = num_classes
        with ExitStack() as stack:
            try:
                self._file = stack.enter_context(open_parquet(path))
                TARGETS.check(self._file.schema_arrow, str(path))
                metadata = self._file.metadata
                found = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
                if found != list(rows_per_group):
                    raise ContractError(f"{path} has row groups of {found} rows, its shard of {list(rows_per_group)}")
            except FileNotFoundError:
                raise
            except (*READ_ERRORS, ContractError) as error:
                raise damaged(path, error, "the soft targets", TARGETS.remedy) from error
            stack.pop_all()

    def read(self, group: int) -> Probabilities:
        """The probabilities of a row group."""
        try:
            lists = self._file.read_row_group(group, use_threads=False).column(0).combine_chunks()
        except READ_ERRORS as error:
            raise damaged(self.path, error, "the soft targets", TARGETS.remedy) from error
        lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
        known_N = lists.is_valid().to_numpy(zero_copy_only=False)
        values = lists.flatten().to_numpy(zero_copy_only=False)
        if len(values) != known_N.sum() * self.num_classes:
            wrong = ContractError("its lists do not have a probability for each label")
            raise damaged(self.path, wrong, "the soft targets", TARGETS.remedy)
        probability_NC = np.full((len(lists), self.num_classes), np.nan, np.float32)
        probability_NC[known_N] = values.reshape(-1, self.num_classes)
        return probability_NC

    def __enter__(self) -> "TargetReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def verify_targets(path: Path) -> None:
    """Reads a file of targets.

    Raises:
        DataError: it is damaged.
    """
    try:
        with open_parquet(path) as file:
            TARGETS.check(file.schema_arrow, str(path))
            for group in range(file.num_row_groups):
                file.read_row_group(group, use_threads=False)
    except (*READ_ERRORS, ContractError) as error:
        raise damaged(path, error, "the soft targets", TARGETS.remedy) from error


def remove_empty_folders(lake: Lake) -> None:
    """Removes the folders of teachers whose targets have all gone."""
    for folder in _folders(lake):
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def _folders(lake: Lake) -> Iterator[Path]:
    with suppress(OSError):
        yield from (path for path in lake.targets.iterdir() if path.is_dir())
