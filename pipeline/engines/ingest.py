"""How the two passes of ingest are spread: over threads of this process, or over tasks of a Ray cluster.

An engine carries batches; what is done with them is the same functions everywhere, and whoever drives it counts and commits.
So the rows, the vocabulary and the shards are the same, byte for byte.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Protocol

from pipeline.config.shared import RAY
from pipeline.datapipes.encode_reviews import EncodeReviews
from pipeline.datapipes.source_reader import SourceBegins, SourceEnds
from pipeline.datapipes.spill import SpillWriter
from pipeline.datapipes.tokenize_reviews import TokenizedBatch, TokenizeReviews
from pipeline.process import collector_paused
from pipeline.readers.base import Reading, Source
from pipeline.readers.mirror import Mirror
from pipeline.readers.reviews import Groups
from pipeline.readers.roles import Columns
from pipeline.text.vocabulary import Counts

THREADS = "pipeline.engines.threads"
"""The module of the local engine, imported late."""
Collected = TokenizedBatch | Groups | SourceBegins | SourceEnds
"""What the collecting process takes, in the order of the sources."""


class IngestEngine(Protocol):
    """Where the work of ingest is done."""

    def spill(self, path: Path) -> SpillWriter:
        """Keeps tokenized batches between the passes; what it writes is in the file `path`."""
        ...

    def counts(self) -> Counts:
        """Counts the tokens of a new vocabulary."""
        ...

    def tokenized(
        self, sources: Sequence[Source], mirror: Mirror, columns: Columns, reading: Reading, tokenize: TokenizeReviews
    ) -> AbstractContextManager[Iterator[Collected]]:
        """The batches of the sources in order, tokenized.

        Args:
            mirror: where sources in stores have their places.
        """
        ...

    def written(
        self,
        spill: SpillWriter,
        dropped: Sequence[tuple[int, int]],
        encode: EncodeReviews,
        folder: Path,
        on_rows: Callable[[int], None],
    ) -> AbstractContextManager[Iterator[Path]]:
        """Encodes what was spilled and writes it as shards into the folder; gives their paths in order.

        Args:
            dropped: ranges of spilled batches that are left out, (first, end).
            on_rows: gets the number of rows of each batch.
        """
        ...


def import_early() -> None:
    """Begins, in a thread, to import what `ingest_engine` will need: a second for torch, which `torchdata.nodes` imports. A
    million files are found in the meantime. Once a process: what the collector was paused for is never collected."""
    if THREADS not in sys.modules:
        threading.Thread(target=_import, args=(THREADS,), name="import", daemon=True).start()


def _import(module: str) -> None:
    with suppress(Exception), collector_paused():  # whoever imports it next gets the error
        import_module(module)


@contextmanager
def ingest_engine(name: str, workers: int | None, scratch: Path) -> Iterator[IngestEngine]:
    """The engine of a run, for the block. A Ray cluster is started when it is first needed.

    Args:
        workers: threads, or tasks at a time; by default one for each core.
        scratch: a folder with room for what does not fit into memory.

    Raises:
        UsageError: Ray is not installed.
    """
    if name == RAY:
        from pipeline.engines.on_ray.cluster import connecting
        from pipeline.engines.on_ray.ingest import RayIngest

        with connecting(workers, scratch) as connected:
            yield RayIngest(connected)
    else:
        from pipeline.engines.threads import ThreadedIngest

        yield ThreadedIngest(os.cpu_count() or 1 if workers is None else workers)
