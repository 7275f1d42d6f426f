"""The graph that feeds training and evaluation: requests → read, decode → buckets → collate → pin → prefetch.

    requests   ReadRequests   which row group for which window; seeks to a step
    read       ParallelMap    `--workers` threads (pyarrow releases the GIL), in order
    buckets    Buckets        a window's rows into batches of similar length
    collate    Mapper         padded tensors
    pin        PinMemory      if the batches go to a GPU
    prefetch   Prefetcher     a few batches ahead

With 0 workers, everything runs in the loop's own thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torchdata.nodes import BaseNode, Mapper, PinMemory, Prefetcher

from pipeline.datapipes.failures import Failure, Guarded
from pipeline.datapipes.parallel_map import ParallelMap
from pipeline.datapipes.train_bucket import Buckets
from pipeline.datapipes.train_collate import Batch, collate
from pipeline.datapipes.train_read import DecodedGroup, RowGroupReader
from pipeline.datapipes.train_requests import ReadRequests
from pipeline.order.plan import Plan

PREFETCH_BATCHES = 8


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """How batches are prepared; nothing here changes which rows they contain."""

    workers: int = 2
    pin_memory: bool = False
    prefetch: int = PREFETCH_BATCHES


def build_graph(plan: Plan, reader: RowGroupReader, options: LoaderOptions, step: int = 0) -> BaseNode[Batch | Failure]:
    """The graph's last node: yields the batches of the plan, starting at `step`; an error is its last item."""
    requests = ReadRequests(plan, step)
    read: BaseNode[DecodedGroup] = ParallelMap(requests, reader, options.workers)
    node: BaseNode[Batch | Failure] = Guarded(Mapper(Buckets(read, plan, step), collate))
    if options.pin_memory:
        node = PinMemory(node) if options.workers else Mapper(node, _pinned)
    return Prefetcher(node, prefetch_factor=options.prefetch) if options.workers else node


def _pinned(item: Batch | Failure) -> Batch | Failure:
    return item if isinstance(item, Failure) else item.pin_memory()


@contextmanager
def batches(plan: Plan, reader: RowGroupReader, options: LoaderOptions, step: int = 0) -> Iterator[Iterator[Batch]]:
    """The batches of the plan, starting at `step`; the graph's threads end with the block.

    torchdata's threads call `torch.set_num_threads(1)`; the number is restored as soon as they run, because kernels
    that start threads later read it.
    """
    threads = torch.get_num_threads()
    graph: BaseNode[Batch | Failure] | None = build_graph(plan, reader, options, step)

    def run() -> Iterator[Batch]:
        assert graph is not None
        for batch in graph:
            if isinstance(batch, Failure):
                raise batch.error
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            yield batch

    stream = run()
    try:
        yield stream
    finally:
        # The nodes stop their threads when they are freed, which must happen before the interpreter ends.
        stream.close()  # type: ignore[attr-defined]
        graph = None
        torch.set_num_threads(threads)
