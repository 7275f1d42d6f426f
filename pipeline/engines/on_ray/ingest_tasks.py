"""The tasks of ingest. They do without torchdata, whose import takes longer than many a task."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.datapipes.encode_reviews import EncodeReviews
from pipeline.datapipes.source_reader import Marked, SourceBegins, SourceEnds, SourceReader
from pipeline.datapipes.tokenize_reviews import (
    ROWS_BESIDE,
    TOKENIZED_SCHEMA,
    CheckedBatch,
    TokenizedBatch,
    TokenizeReviews,
)
from pipeline.datapipes.tokens_elsewhere import TokensElsewhere
from pipeline.engines.on_ray.cluster import Unseen, unseen
from pipeline.engines.on_ray.places import Piece
from pipeline.engines.on_ray.reading import InStore, brought, chunked, compact
from pipeline.errors import DataError
from pipeline.lake.known import Keys, contents_of
from pipeline.lake.shard_writer import write_shard
from pipeline.readers.base import Reading, Source
from pipeline.readers.reviews import Groups, TableRows, TextFiles
from pipeline.readers.roles import Columns

Collected = TokenizedBatch | Groups | SourceBegins | SourceEnds
States = npt.NDArray[np.int8]
Sent = Marked | Unseen
"""What readers send."""
Checked = CheckedBatch | Groups | SourceBegins | SourceEnds | Unseen
Body = list[pa.RecordBatch | None]
"""Rows with their tokens, one batch for each item of a chunk."""


def read_chunks(sources: Sequence[Source | InStore], columns: Columns, reading: Reading) -> Iterator[list[Sent]]:
    """Reads files in a task."""
    reader = SourceReader(columns, reading)

    def items() -> Iterator[Sent]:
        for source in sources:
            with brought(source) as (found, missing):
                if missing is not None:
                    yield missing
                yield from map(_compact, reader.read(found))  # if it has gone everywhere, that is a fault of the file

    return chunked(items())


def _compact(item: Marked) -> Marked:
    if not isinstance(item, TableRows):
        return item
    return replace(item, rows=replace(item.rows, table=compact(item.rows.table)))


def check_chunk(
    tokenize: TokenizeReviews, chunk: list[Sent]
) -> tuple[list[tuple[Keys, Keys, States] | None], list[Checked]]:
    """Reads and checks a chunk in a task; gives the keys to look up, and the rows."""
    checked = list(_checked(tokenize, chunk))
    keys = [(one.keys, one.contents, one.withheld) if isinstance(one, CheckedBatch) else None for one in checked]
    return keys, checked


def finish_chunk(
    tokenize: TokenizeReviews, judged: list[tuple[States, States] | None], checked: list[Checked]
) -> tuple[list[Collected | Unseen], Body]:
    """Tokenizes what was checked, in a task; gives what is looked at, and the rows with their tokens."""
    heads: list[Collected | Unseen] = []
    body: Body = []
    for one, states in zip(checked, judged, strict=True):
        if not isinstance(one, CheckedBatch):
            heads.append(one)
            body.append(None)
            continue
        assert states is not None
        head, rows = _divided(tokenize.finish(one, *states))
        heads.append(head)
        body.append(rows)
    return heads, body


def tokenize_chunk(tokenize: TokenizeReviews, chunk: list[Sent]) -> tuple[list[Collected | Unseen], Body]:
    """The two steps in one, where nothing is known."""
    keys, checked = check_chunk(tokenize, chunk)
    return finish_chunk(tokenize, [None if one is None else tokenize.judge(*one) for one in keys], checked)


def _checked(tokenize: TokenizeReviews, chunk: list[Sent]) -> Iterator[Checked]:
    for item in chunk:
        if isinstance(item, TextFiles) and (missing := unseen(item.folder)) is not None:
            yield missing
        yield item if isinstance(item, Unseen) else tokenize.check(item)


def _divided(batch: TokenizedBatch) -> tuple[TokenizedBatch, pa.RecordBatch | None]:
    """What is looked at of a batch, and its rows with their tokens."""
    assert not isinstance(batch.tokens, TokensElsewhere)
    count = len(batch.rows)
    lengths = np.diff(batch.tokens.offsets.to_numpy()) if count else np.zeros(0, np.int32)
    elsewhere = TokensElsewhere(
        place=None, row_N=np.arange(count, dtype=np.int32), length_N=lengths, contents=batch.contents
    )
    head = replace(batch, rows=batch.rows.select(list(ROWS_BESIDE)), tokens=elsewhere)
    if not count:
        return head, None
    return head, pa.RecordBatch.from_arrays([*batch.rows.columns, batch.tokens], schema=TOKENIZED_SCHEMA)


@dataclass(frozen=True, slots=True)
class MadeShard:
    """A file."""

    name: str
    content: bytes


def make_shard(encode: EncodeReviews, split: str, pieces: list[Piece], *bodies: Body) -> MadeShard:
    """Writes a shard in a task.

    Raises:
        DataError: the rows are not those that were collected.
    """
    batches = []
    for piece in pieces:
        batch = bodies[piece.body][piece.batch]
        if batch is None or (len(piece.row_N) and piece.row_N[-1] >= len(batch)):
            raise _changed()
        rows = batch if len(piece.row_N) == len(batch) else batch.take(pa.array(piece.row_N))
        if not np.array_equal(contents_of(rows["content_sha256"].to_pylist()), piece.content_N):
            raise _changed()
        batches.append(encode(rows))
    with tempfile.TemporaryDirectory(prefix="pipeline-") as folder:
        path = write_shard(Path(folder), split, pa.Table.from_batches(batches), encode.vocabulary.fingerprint)
        return MadeShard(path.name, path.read_bytes())


def _changed() -> DataError:
    return DataError(
        "a source changed while it was read: a machine of the Ray cluster was lost, and its rows are others now. Nothing "
        "was committed. Run it again once the sources are complete."
    )
