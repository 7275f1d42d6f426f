"""Regroups encoded batches into shards: one split each, sized by rows and tokens, independent of workers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from torchdata.nodes import BaseNode

SHARD_ROWS = 16_384
SHARD_TOKENS = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRows:
    """The rows of one shard."""

    split: str
    rows: pa.Table


class CutShards(BaseNode[ShardRows]):
    """Yields a shard as soon as a split has enough rows or tokens, and the rest at the end, ordered by split name.

    `on_rows` receives the number of rows of each batch. The state is the number of shards yielded; a restart reads the
    source from the start.
    """

    SHARD: ClassVar[str] = "shard"

    def __init__(self, source: BaseNode[pa.RecordBatch], on_rows: Callable[[int], None]) -> None:
        super().__init__()
        self.source = source
        self.on_rows = on_rows

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        """Starts at the beginning, or after as many shards as the state says."""
        super().reset(initial_state)
        self.source.reset(None)
        self._pending: dict[str, list[pa.RecordBatch]] = {}
        self._ready: list[ShardRows] = []
        self._shard = 0
        while initial_state and self._shard < initial_state[self.SHARD]:
            self.next()

    def next(self) -> ShardRows:
        """The next shard's rows."""
        while not self._ready:
            try:
                batch = next(self.source)
            except StopIteration:
                self._finish()
                if not self._ready:
                    raise
                break
            self.on_rows(len(batch))
            splits = batch["split"].unique().to_pylist()
            for split in splits:
                rows = batch if len(splits) == 1 else batch.filter(pc.equal(batch["split"], split))
                self._add(split, rows)
        self._shard += 1
        return self._ready.pop(0)

    def get_state(self) -> dict[str, Any]:
        """A new dictionary."""
        return {self.SHARD: self._shard}

    def _add(self, split: str, rows: pa.RecordBatch) -> None:
        pending = self._pending.setdefault(split, [])
        pending.append(rows)
        if sum(map(len, pending)) >= SHARD_ROWS or sum(map(_num_tokens, pending)) >= SHARD_TOKENS:
            table = pa.Table.from_batches(pending)
            self._ready.append(ShardRows(split=split, rows=table.slice(0, SHARD_ROWS)))
            self._pending[split] = table.slice(SHARD_ROWS).to_batches()

    def _finish(self) -> None:
        for split in sorted(self._pending):
            if sum(map(len, self._pending[split])):
                self._ready.append(ShardRows(split=split, rows=pa.Table.from_batches(self._pending[split])))
        self._pending = {}


def _num_tokens(batch: pa.RecordBatch) -> int:
    bounds = batch["ids"].offsets
    return int(bounds[-1].as_py() - bounds[0].as_py())
