"""Reads and decodes row groups: token IDs of selected rows, cut to the maximum length, and their targets."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.datapipes.train_requests import ReadRequest
from pipeline.errors import DataError
from pipeline.lake.content import READ_ERRORS, open_parquet
from pipeline.lake.damage import REPAIR, damaged
from pipeline.lake.shards import bring
from pipeline.order.selection import Part
from schemas.vocabulary import UNK_ID

IDS = "ids"


@dataclass(frozen=True, slots=True)
class DecodedGroup:
    """Row i has the tokens `values[offsets[i]:offsets[i + 1]]` and the target `targets[i]`: the ID of its label, int64, or a
    number, float64. The n-th row of the part with a soft target, counted from 0, has -1 - n."""

    window: int
    group: int
    values: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    targets: npt.NDArray[Any]


@dataclass
class RowGroupReader:
    """Reads the requested row group; safe to call from several threads.

    Rows that the next window needs again are kept until then. `bytes_read` counts the column chunks fetched.
    """

    part: Part
    max_length: int
    vocab_size: int | None = None
    """IDs must be below this; None leaves the check to the caller."""
    truncation: str = "head"
    read_length: int | None = None
    """Where a review ends for `head-tail`; None for its real end."""
    bytes_read: int = 0
    _footers: "OrderedDict[Path, pq.FileMetaData]" = field(default_factory=OrderedDict)
    _kept: dict[int, DecodedGroup] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    MAX_FOOTERS = 64

    def __post_init__(self) -> None:
        self._columns = [IDS] if self.part.column is None else [IDS, self.part.column]
        self._soft_before = np.cumsum([0, *self.part.soft_per_group])

    def __call__(self, request: ReadRequest) -> DecodedGroup:
        with self._lock:
            kept = self._kept.pop(request.group, None)
        decoded = kept or self._read(request)
        decoded = DecodedGroup(request.window, request.group, decoded.values, decoded.offsets, decoded.targets)
        if request.again:
            with self._lock:
                self._kept[request.group] = decoded
        return decoded

    def _read(self, request: ReadRequest) -> DecodedGroup:
        row_group = self.part.groups[request.group]
        try:
            footer = self._footer(row_group.path)
            with open_parquet(row_group.path, metadata=footer) as file:
                table = file.read_row_group(row_group.index, columns=self._columns, use_threads=False)
        except READ_ERRORS as error:
            raise damaged(row_group.path, error, "the token shard", REPAIR) from error
        with self._lock:
            self.bytes_read += _bytes_of(footer, row_group.index, self._columns)
        if any(chunk.values.null_count for chunk in table["ids"].chunks):
            raise DataError(f"the token shard {row_group.path} contains null among its IDs. {REPAIR}")
        rows = self.part.selected[request.group]
        decoded = decode(table, rows, self.max_length, request, self.truncation, self.read_length, self.part.column)
        _number_soft(decoded.targets, self._soft_before, request.group)
        ids = decoded.values
        if self.vocab_size is not None and len(ids) and not 0 <= ids.min() <= ids.max() < self.vocab_size:
            raise DataError(
                f"the token shard {row_group.path} contains IDs from {ids.min()} to {ids.max()}, but the vocabulary has "
                f"{self.vocab_size} tokens. Shards and vocabulary do not match. {REPAIR}"
            )
        return decoded

    def _footer(self, path: Path) -> pq.FileMetaData:
        with self._lock:
            if path in self._footers:
                self._footers.move_to_end(path)
                return self._footers[path]
        bring(path)
        footer = pq.read_metadata(path)
        with self._lock:
            self._footers[path] = footer
            if len(self._footers) > self.MAX_FOOTERS:
                self._footers.popitem(last=False)
        return footer


def decode(
    table: pa.Table,
    rows: npt.NDArray[np.int64],
    max_length: int,
    request: ReadRequest,
    truncation: str = "head",
    read_length: int | None = None,
    column: str | None = "label",
) -> DecodedGroup:
    """The rows of a table with IDs and maybe targets, cut like `models.blend.cut`. A review without tokens becomes one
    `<unk>`, so lengths are at least 1."""
    lists = table["ids"].combine_chunks()
    lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
    if pa.types.is_large_list(lists.type):
        lists = lists.cast(pa.list_(pa.int32()))
    values = lists.values.to_numpy(zero_copy_only=False)
    bounds = lists.offsets.to_numpy().astype(np.int64)
    starts = bounds[rows]
    whole = np.minimum(bounds[rows + 1] - starts, read_length or bounds[-1])
    lengths = np.minimum(whole, max_length)
    offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths, 1))]).astype(np.int64)
    taken = np.full(offsets[-1], UNK_ID, dtype=np.int32)
    filled = np.cumsum(lengths) - lengths
    within = np.arange(int(lengths.sum())) - np.repeat(filled, lengths)
    skipped = np.repeat(whole - lengths, lengths) * (within >= max_length // 2) if truncation == "head-tail" else 0
    taken[np.repeat(offsets[:-1], lengths) + within] = values[np.repeat(starts, lengths) + within + skipped]
    targets = np.zeros(len(rows), np.int64) if column is None else _targets(table[column])[rows]
    return DecodedGroup(request.window, request.group, taken, offsets, targets)


def _targets(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Whole numbers as int64, -1 for null; others as float64, NaN for null."""
    is_whole = pa.types.is_integer(column.type)
    filled: npt.NDArray[Any] = column.fill_null(-1 if is_whole else np.nan).to_numpy()
    return filled.astype(np.int64 if is_whole else np.float64)


def _number_soft(targets: npt.NDArray[Any], before: npt.NDArray[np.int64], group: int) -> None:
    """Numbers the rows with a soft target, in place, if the part counts them."""
    if len(before) > 1:
        everything = before[group + 1] - before[group] == len(targets)
        (soft,) = np.nonzero((targets < 0) | everything)
        targets[soft] = -1 - before[group] - np.arange(len(soft))


def _bytes_of(footer: pq.FileMetaData, index: int, columns: list[str]) -> int:
    group = footer.row_group(index)
    chunks = (group.column(column) for column in range(group.num_columns))
    return sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns)
