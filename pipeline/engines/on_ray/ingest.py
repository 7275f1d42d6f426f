"""Ingest in tasks of a Ray cluster.

Tasks read, check, tokenize, count, encode and write shards. The driving process gets what it has to look at: IDs, labels and
keys of the rows, then the finished shards. Texts and tokens stay in the cluster's shared memory, or on the disks of its
machines where they do not fit; if a machine is lost, the tasks that made them run again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.datapipes.cut_shards import CutShards, ShardRows
from pipeline.datapipes.encode_reviews import EncodeReviews
from pipeline.datapipes.source_reader import SourceReader
from pipeline.datapipes.spill import SpillWriter
from pipeline.datapipes.spilled_batches import SpilledBatches
from pipeline.datapipes.tokenize_reviews import TokenizedBatch, TokenizeReviews
from pipeline.datapipes.tokens_elsewhere import TokensElsewhere
from pipeline.engines.on_ray.calls import Done
from pipeline.engines.on_ray.cluster import Cluster, Unseen
from pipeline.engines.on_ray.counts import TreeCounts
from pipeline.engines.on_ray.ingest_tasks import (
    Collected,
    MadeShard,
    States,
    check_chunk,
    finish_chunk,
    make_shard,
    read_chunks,
    tokenize_chunk,
)
from pipeline.engines.on_ray.places import Place
from pipeline.engines.on_ray.plan import PlanWriter, pieces_of
from pipeline.engines.on_ray.reading import InStore, chunked, gathered
from pipeline.lake.atomic import writing
from pipeline.lake.known import KeyIndex, Keys
from pipeline.readers.base import Reading, Source
from pipeline.readers.mirror import Mirror
from pipeline.readers.roles import Columns


class RayIngest:
    """The engine; see `pipeline.engines.ingest.IngestEngine`. Nothing is started before there is something to do."""

    def __init__(self, connected: Callable[[], Cluster]) -> None:
        self._connected = connected

    def spill(self, path: Path) -> SpillWriter:
        """Writes the plan; the tokens stay where they are."""
        return PlanWriter(path)

    def counts(self) -> TreeCounts:
        """Counts where the tokens are."""
        return TreeCounts(self._connected)

    @contextmanager
    def tokenized(
        self, sources: Sequence[Source], mirror: Mirror, columns: Columns, reading: Reading, tokenize: TokenizeReviews
    ) -> Iterator[Iterator[Collected]]:
        """The batches of the sources in order, tokenized; their tokens are `TokensElsewhere`."""
        yield _tokenized(self._connected(), sources, mirror, columns, reading, tokenize)

    @contextmanager
    def written(
        self,
        spill: SpillWriter,
        dropped: Sequence[tuple[int, int]],
        encode: EncodeReviews,
        folder: Path,
        on_rows: Callable[[int], None],
    ) -> Iterator[Iterator[Path]]:
        """Encodes the planned rows, writes them as shards and puts these into the folder; gives their paths in order.

        Raises (while it is iterated):
            DataError: a source has changed, and its rows had to be read again.
        """
        assert isinstance(spill, PlanWriter)
        yield _written(self._connected(), spill, dropped, encode, folder, on_rows)
        spill.bodies = []


def _tokenized(
    cluster: Cluster,
    sources: Sequence[Source],
    mirror: Mirror,
    columns: Columns,
    reading: Reading,
    tokenize: TokenizeReviews,
) -> Iterator[Collected]:
    given = cluster.put(replace(tokenize, known=KeyIndex(), held=KeyIndex()))
    chunks = _chunks(cluster, sources, mirror, columns, reading)
    if _is_empty(tokenize.known) and _is_empty(tokenize.held):
        started = cluster.ahead(chunks, lambda chunk: cluster.call_pair(tokenize_chunk, given, chunk))
    else:
        # The index of known reviews is here. It is as large as the lake, so it stays here.
        checked = cluster.ahead(chunks, lambda chunk: cluster.call_pair(check_chunk, given, chunk))

        def finish(pair: tuple[Any, Any]) -> tuple[Any, Any]:
            keys: list[tuple[Keys, Keys, States] | None] = cluster.get(pair[0])
            judged = [None if one is None else tokenize.judge(*one) for one in keys]
            return cluster.call_pair(finish_chunk, given, judged, pair[1])

        started = cluster.ahead(checked, finish)
    for head, body in started:
        for number, item in enumerate(cluster.get(head)):
            if isinstance(item, Unseen):
                item.check()
            else:
                yield _owned(item, Place(body, number)) if isinstance(item, TokenizedBatch) else item


def _is_empty(known: object) -> bool:
    return isinstance(known, KeyIndex) and not len(known)


def _chunks(
    cluster: Cluster, sources: Sequence[Source], mirror: Mirror, columns: Columns, reading: Reading
) -> Iterator[Any]:
    """References to chunks, or chunks, in order. Folders of reviews in files of their own are listed here: their list is
    here already, and one folder's list of films decides about others."""
    here = SourceReader(columns, reading)

    def start(group: list[Source | InStore]) -> Iterator[Any]:
        if isinstance(group[0], Source) and group[0].format == "txt":
            return (Done(value=chunk) for chunk in chunked(here.read(mirror.fetch(group[0]))))
        return cluster.stream(read_chunks, group, columns, reading)

    for stream in cluster.ahead(gathered([_sent(source, mirror) for source in sources]), start, cluster.readers):
        yield from stream


def _sent(source: Source, mirror: Mirror) -> tuple[Source | InStore, int | None]:
    """A source as tasks get it, and its size, None if it is not known or to be read alone."""
    if source.remote and not source.files:
        return InStore(source, mirror.uri_of(source.path)), mirror.size(source)
    return source, None if source.stamp is None else source.stamp.size


def _owned(batch: TokenizedBatch, place: Place) -> TokenizedBatch:
    """A batch as it came from a task, with arrays that may be kept: those that came are a view of the shared memory."""
    assert isinstance(batch.tokens, TokensElsewhere)
    return replace(
        batch,
        tokens=replace(batch.tokens, place=place),
        contents=batch.contents.copy(),
        withheld_keys=batch.withheld_keys.copy(),
        withheld=batch.withheld.copy(),
        withheld_pairs=batch.withheld_pairs.copy(),
        standing=pa.RecordBatch.from_pylist(batch.standing.to_pylist(), batch.standing.schema),
    )


def _written(
    cluster: Cluster,
    spill: PlanWriter,
    dropped: Sequence[tuple[int, int]],
    encode: EncodeReviews,
    folder: Path,
    on_rows: Callable[[int], None],
) -> Iterator[Path]:
    given = cluster.put(replace(encode, vocabulary=replace(encode.vocabulary)))  # without what it has cached

    def start(shard: ShardRows) -> Any:
        bodies, pieces = pieces_of(shard.rows)
        return cluster.call(make_shard, given, shard.split, pieces, *(spill.bodies[body] for body in bodies))

    for made in cluster.ahead(CutShards(SpilledBatches(spill.path, dropped), on_rows), start):
        shard: MadeShard = cluster.get(made)
        path = folder / shard.name
        with writing(path):
            path.write_bytes(shard.content)
        yield path
