"""Every node of the training graph keeps torchdata's promise: a state, restored, gives what would have come."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torchdata.nodes import BaseNode, Mapper, Prefetcher

from pipeline.datapipes.parallel_map import ParallelMap
from pipeline.datapipes.train_bucket import Buckets
from pipeline.datapipes.train_collate import collate
from pipeline.datapipes.train_loader import LoaderOptions, build_graph
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.datapipes.train_requests import ReadRequests
from pipeline.lake.shards import plain_shards
from pipeline.order.options import OrderOptions
from pipeline.order.order import Order
from pipeline.order.plan import TrainPlan
from pipeline.order.selection import Part, select
from tests.support.node_states import run_test_save_load_state
from tests.support.tasks import TWO_LABELS
from tests.support.token_corpus import write_corpus

Make = Callable[[Part, TrainPlan], BaseNode[Any]]


def read(part: Part, plan: TrainPlan, workers: int) -> BaseNode[Any]:
    return ParallelMap(ReadRequests(plan), RowGroupReader(part, 50), workers)


NODES: dict[str, Make] = {
    "requests": lambda part, plan: ReadRequests(plan),
    "read": lambda part, plan: read(part, plan, 0),
    "read in threads": lambda part, plan: read(part, plan, 2),
    "buckets": lambda part, plan: Buckets(read(part, plan, 0), plan),
    "buckets over threads": lambda part, plan: Buckets(read(part, plan, 2), plan),
    "collate": lambda part, plan: Mapper(Buckets(read(part, plan, 0), plan), collate),
    "prefetch": lambda part, plan: Prefetcher(Buckets(read(part, plan, 2), plan), prefetch_factor=3),
    "graph": lambda part, plan: build_graph(plan, RowGroupReader(part, 50), LoaderOptions(workers=2)),
    "graph without threads": lambda part, plan: build_graph(plan, RowGroupReader(part, 50), LoaderOptions(workers=0)),
}


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    corpus = write_corpus(tmp_path_factory.mktemp("nodes"), 300, row_groups=(20, 33))
    return select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")


@pytest.mark.parametrize("name", NODES)
def test_save_and_load_state(part: Part, name: str) -> None:
    plan = TrainPlan(Order(part.rows_per_group, OrderOptions(batch_size=16, window_rows=64, pool_steps=2), 0))
    run_test_save_load_state(lambda: NODES[name](part, plan), midpoint=7)


def test_a_missing_file_names_itself_through_the_graph(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 100)
    part = select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")
    next(corpus.shards.iterdir()).write_bytes(b"PAR1 no more")
    plan = TrainPlan(Order(part.rows_per_group, OrderOptions(batch_size=16), 0))
    items = list(build_graph(plan, RowGroupReader(part, 50), LoaderOptions(workers=2)))
    assert "cannot be read" in str(items[-1].error)
