"""Tokenized batches stored on disk between the two passes of ingest, as an Arrow IPC stream."""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from pipeline.datapipes.tokenize_reviews import ROW_SCHEMA, TOKENIZED_SCHEMA
from pipeline.datapipes.tokens_elsewhere import TokensElsewhere
from pipeline.lake.atomic import writing

RELEASE_BYTES = 16 << 20
"""How many bytes of batches go through between two looks at the process's memory."""
RELEASE_ABOVE = 450 << 20
"""Above so much memory, freed memory goes back to the system: blocks of many sizes leave holes that others do not fit into,
and a run over long tokens would grow without bound. Runs over ordinary text stay below it: giving memory back after every
16 MiB took a CSV of 2 GB a fifth longer."""

TOKENS, WIDE = "tokens", "wide_tokens"
"""The columns of token lists: of a batch with at most `NARROW` distinct tokens, whose indices take two bytes each, and of
others. Each batch has one of them and nulls in the other."""
NARROW = 1 << 16
NARROW_TOKENS = pa.list_(pa.field("item", pa.dictionary(pa.uint16(), pa.string())))
WIDE_TOKENS = TOKENIZED_SCHEMA.field(TOKENS).type
SPILLED_SCHEMA = ROW_SCHEMA.append(pa.field(TOKENS, NARROW_TOKENS)).append(pa.field(WIDE, WIDE_TOKENS))


class Release:
    """Returns freed memory to the system where the process takes much of it. Does nothing where there is no /proc."""

    def __init__(self) -> None:
        self._bytes = 0

    def after(self, batch: pa.RecordBatch) -> None:
        """Counts a batch that went through."""
        self._bytes += batch.get_total_buffer_size()
        if self._bytes >= RELEASE_BYTES:
            self._bytes = 0
            if _resident_bytes() > RELEASE_ABOVE:
                pa.default_memory_pool().release_unused()


def _resident_bytes() -> int:
    """Memory of this process, of files that it has mapped too; 0 where it is not known."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class SpillWriter:
    """Appends batches to a spill file; `SpilledBatches` reads it. Each batch has its own dictionary of tokens.

    Args:
        schema: of the file; another one is for a subclass that writes something else.
    """

    def __init__(self, path: Path, schema: pa.Schema = SPILLED_SCHEMA) -> None:
        self.path = path
        self.batches = 0
        self._release = Release()
        with writing(path):
            self.writer = pa.ipc.new_stream(path, schema)

    def __enter__(self) -> "SpillWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with writing(self.path) if error is None else suppress(OSError):
            self.writer.close()

    def write(self, rows: pa.RecordBatch, tokens: pa.ListArray | TokensElsewhere) -> None:
        """Writes (N,) rows and their token lists.

        Raises:
            CannotWriteError: for example, the disk is full.
        """
        assert isinstance(tokens, pa.ListArray)
        narrow, wide = pa.nulls(len(tokens), NARROW_TOKENS), tokens
        if len(tokens.values.dictionary) <= NARROW:
            narrow, wide = narrowed(tokens), pa.nulls(len(tokens), WIDE_TOKENS)
        self.append(pa.RecordBatch.from_arrays([*rows.columns, narrow, wide], schema=SPILLED_SCHEMA))

    def append(self, batch: pa.RecordBatch) -> None:
        """Writes a batch under the schema of the file; raises what `write` raises."""
        with writing(self.path):
            self.writer.write_batch(batch)
        self.batches += 1
        self._release.after(batch)


def narrowed(tokens: pa.ListArray) -> pa.ListArray:
    """The same lists of at most `NARROW` distinct tokens, half as large."""
    indices = tokens.values.indices.to_numpy().astype(np.uint16)
    values = pa.DictionaryArray.from_arrays(pa.array(indices), tokens.values.dictionary, safe=False)
    return pa.ListArray.from_arrays(tokens.offsets, values, type=NARROW_TOKENS)
