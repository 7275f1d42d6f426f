"""The rows of a part of the training data, as the shards have them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torchdata.nodes import IterableWrapper

from pipeline.datapipes.parallel_map import ParallelMap
from pipeline.errors import DataError
from pipeline.lake.shards import open_shard
from pipeline.order.selection import Part, RowGroup
from pipeline.text.vocabulary import Vocabulary

Ints = NDArray[np.int64]


def spread_over(part: Part, most: int) -> Part:
    """The part, or `most` of its rows at equal distances."""
    if part.rows <= most:
        return part
    numbers = np.linspace(0, part.rows - 1, most).astype(np.int64)
    return rows_of(part, numbers)


def rows_of(part: Part, numbers: Ints) -> Part:
    """The rows with these numbers in the part, ascending."""
    ends = np.cumsum(part.rows_per_group)
    selected = []
    for end, rows in zip(ends, part.selected, strict=True):
        begin = end - len(rows)
        selected.append(rows[numbers[(numbers >= begin) & (numbers < end)] - begin])
    return replace(part, selected=tuple(selected), soft_per_group=())


def read_part(part: Part, columns: list[str], workers: int = 0) -> Iterator[pa.Table]:
    """The selected rows, a table for each row group that has any."""
    wanted = [(group, rows) for group, rows in zip(part.groups, part.selected, strict=True) if len(rows)]

    def read(one: tuple[RowGroup, Ints]) -> pa.Table:
        group, rows = one
        with open_shard(group.path) as file:
            return file.read_row_group(group.index, columns=columns).take(rows)

    with ParallelMap(IterableWrapper(wanted), read, workers) as tables:
        yield from tables


def check_ids(ids: pa.ListArray, vocabulary: Vocabulary) -> None:
    """Raises `DataError` unless all ids are those of a vocabulary."""
    size = len(vocabulary)
    values = ids.flatten().to_numpy()
    if len(values) and not 0 <= values.min() <= values.max() < size:
        raise DataError(
            f"the shards contain token IDs from {values.min()} to {values.max()}, but the vocabulary has {size} tokens. "
            "Shards and vocabulary do not match; restore them, or ingest again."
        )
