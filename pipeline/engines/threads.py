"""Ingest in threads of this process."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.datapipes.cut_shards import CutShards, ShardRows
from pipeline.datapipes.encode_reviews import EncodeReviews
from pipeline.datapipes.parallel_map import ParallelMap
from pipeline.datapipes.read_reviews import ReadReviews
from pipeline.datapipes.spill import SpillWriter
from pipeline.datapipes.spilled_batches import SpilledBatches
from pipeline.datapipes.tokenize_reviews import TokenizeReviews
from pipeline.engines.ingest import Collected
from pipeline.lake.shard_writer import write_shard
from pipeline.readers.base import Reading, Source
from pipeline.readers.mirror import Mirror
from pipeline.readers.roles import Columns
from pipeline.text.vocabulary import Counts, TokenCounts


class ThreadedIngest:
    """The engine; see `pipeline.engines.ingest.IngestEngine`.

    Args:
        workers: 0 for the caller's thread alone.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def spill(self, path: Path) -> SpillWriter:
        """See `IngestEngine`."""
        return SpillWriter(path)

    def counts(self) -> Counts:
        """See `IngestEngine`."""
        return TokenCounts()

    @contextmanager
    def tokenized(
        self, sources: Sequence[Source], mirror: Mirror, columns: Columns, reading: Reading, tokenize: TokenizeReviews
    ) -> Iterator[Iterator[Collected]]:
        """See `IngestEngine`."""
        with ParallelMap(ReadReviews(mirror.arriving(sources), columns, reading), tokenize, self.workers) as batches:
            yield iter(batches)

    @contextmanager
    def written(
        self,
        spill: SpillWriter,
        dropped: Sequence[tuple[int, int]],
        encode: EncodeReviews,
        folder: Path,
        on_rows: Callable[[int], None],
    ) -> Iterator[Iterator[Path]]:
        """See `IngestEngine`."""

        def write(shard: ShardRows) -> Path:
            return write_shard(folder, shard.split, shard.rows, encode.vocabulary.fingerprint)

        with (
            ParallelMap(SpilledBatches(spill.path, dropped), encode, self.workers, ahead=self.workers) as encoded,
            ParallelMap(CutShards(encoded, on_rows), write, self.workers, ahead=self.workers) as shards,
        ):
            yield iter(shards)
