"""Every node of the ingest graph keeps torchdata's promise: a state, restored, gives what would have come."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from torchdata.nodes import BaseNode, IterableWrapper

from pipeline.datapipes.cut_shards import CutShards
from pipeline.datapipes.parallel_map import ParallelMap
from pipeline.datapipes.read_reviews import ReadReviews
from pipeline.datapipes.spill import NARROW, SpillWriter
from pipeline.datapipes.spilled_batches import SpilledBatches
from pipeline.datapipes.tokenize_reviews import ROW_SCHEMA
from pipeline.errors import DataError
from pipeline.readers.layout import layout_of, stars_of
from pipeline.readers.roles import Columns
from pipeline.readers.walk import Walker
from pipeline.text.tokenizers import tokenize
from tests.support.node_states import plain, run_test_save_load_state
from tests.support.reviews import write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_corpus(tmp_path_factory.mktemp("corpus"))
    lines = "".join(f"text {n},{'pos' if n % 2 else 'neg'}\n" for n in range(1300))
    (root / "zz.csv").write_text("text,label\n" + lines)
    return root


@pytest.fixture(scope="module")
def spill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spill") / "spill.arrow"
    with SpillWriter(path) as writer:
        for batch in range(9):
            row = {"review_id": f"r{batch}", "split": "train", "source": "s", "row": batch, "content_sha256": "0"}
            rows = pa.RecordBatch.from_pylist([row], schema=ROW_SCHEMA)
            words = pa.array(["good", f"word{batch}", "good"]).dictionary_encode()
            writer.write(rows, pa.ListArray.from_arrays(pa.array([0, 3], pa.int32()), words))
    return path


class Encoded(BaseNode[pa.RecordBatch]):
    """Batches of 5,000 rows in turn of train and test, enough to fill several shards."""

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        super().reset(initial_state)
        self.count = initial_state["count"] if initial_state else 0

    def next(self) -> pa.RecordBatch:
        if self.count == 16:
            raise StopIteration
        self.count += 1
        columns = {"split": ["train" if self.count % 3 else "test"] * 5000, "ids": [[self.count]] * 5000}
        return pa.RecordBatch.from_pydict(columns)

    def get_state(self) -> dict[str, Any]:
        return {"count": self.count}


def reader(corpus: Path) -> ReadReviews:
    return ReadReviews(Walker(name_of=str).find([corpus]).sources, Columns(label="label"))


def upper(item: Any) -> str:
    return str(plain(item)).upper()


NODES: dict[str, Callable[[Path, Path], BaseNode[Any]]] = {
    "read": lambda corpus, spill: reader(corpus),
    "map": lambda corpus, spill: ParallelMap(reader(corpus), upper, 0),
    "map in threads": lambda corpus, spill: ParallelMap(reader(corpus), upper, 3),
    "spilled": lambda corpus, spill: SpilledBatches(spill),
    "shards": lambda corpus, spill: CutShards(Encoded(), lambda rows: None),
}


@pytest.mark.parametrize("name", NODES)
def test_save_and_load_state(corpus: Path, spill: Path, name: str) -> None:
    run_test_save_load_state(lambda: NODES[name](corpus, spill), midpoint=3)


def test_spilled_batches_keep_their_own_dictionaries(spill: Path) -> None:
    assert [batch["tokens"].to_pylist() for batch in SpilledBatches(spill)] == [
        [["good", f"word{batch}", "good"]] for batch in range(9)
    ]


@pytest.mark.parametrize("distinct", [1, NARROW, NARROW + 1])
def test_a_batch_of_any_number_of_distinct_tokens_is_spilled(tmp_path: Path, distinct: int) -> None:
    row = {"review_id": "r", "split": "train", "source": "s", "row": 0, "content_sha256": "0"}
    rows = pa.RecordBatch.from_pylist([row, row], schema=ROW_SCHEMA)
    tokens = tokenize("basic_english", pa.array([" ".join(map(str, range(distinct))), "0"]))
    few = tokenize("basic_english", pa.array(["", "a b a"]))
    with SpillWriter(tmp_path / "spill.arrow") as writer:
        for lists in (few, tokens, few):
            writer.write(rows, lists)
    found = [batch["tokens"] for batch in SpilledBatches(writer.path)]
    assert [lists.to_pylist() for lists in found] == [few.to_pylist(), tokens.to_pylist(), few.to_pylist()]
    widths = [lists.type.value_type.index_type for lists in found]
    assert widths == [pa.uint16(), pa.uint16() if distinct <= NARROW else pa.int32(), pa.uint16()]


def test_shards_hold_one_split_and_every_row_once() -> None:
    shards = list(CutShards(Encoded(), lambda rows: None))
    assert [(shard.split, len(shard.rows)) for shard in shards] == [
        ("train", 16_384),
        ("train", 16_384),
        ("test", 16_384),
        ("train", 16_384),
        ("test", 8_616),
        ("train", 5_848),
    ]
    assert all(set(shard.rows["split"].to_pylist()) == {shard.split} for shard in shards)


class Failing(BaseNode[int]):
    """Yields 0, 1, 2, then fails."""

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        super().reset(initial_state)
        self.count = -1

    def next(self) -> int:
        self.count += 1
        if self.count == 3:
            raise DataError("the source broke")
        return self.count

    def get_state(self) -> dict[str, Any]:
        return {}


def refuse_one(number: int) -> int:
    if number == 1:
        raise DataError("one is bad")
    return number


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_of_the_source_and_of_the_function_arrive_as_they_were_raised(workers: int) -> None:
    with ParallelMap(Failing(), int, workers) as node:
        assert [next(node), next(node), next(node)] == [0, 1, 2]
        with pytest.raises(DataError, match=r"^the source broke$"):
            next(node)
    with ParallelMap(Failing(), refuse_one, workers) as node:
        assert next(node) == 0
        with pytest.raises(DataError, match=r"^one is bad$"):
            next(node)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_function_that_raises_stop_iteration_does_not_end_the_data(workers: int) -> None:
    empty: list[int] = []
    with (
        ParallelMap(Failing(), lambda _: next(iter(empty)), workers) as node,
        pytest.raises(RuntimeError, match="the function raised StopIteration"),
    ):
        next(node)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_parallel_map_keeps_the_order_and_no_more_than_its_share_under_way(workers: int) -> None:
    started: list[int] = []

    def slow_at_first(number: int) -> int:
        started.append(number)
        time.sleep(0.002 * (40 - number) / 40)
        return number

    with ParallelMap(IterableWrapper(range(40)), slow_at_first, workers, ahead=6) as node:
        for taken in range(40):
            assert next(node) == taken
            assert len(started) <= taken + 1 + 6
        with pytest.raises(StopIteration):
            next(node)
    assert sorted(started) == list(range(40))


def test_a_closed_parallel_map_leaves_no_thread_and_draws_no_more() -> None:
    before = set(threading.enumerate())
    source = IterableWrapper(range(1000))
    with ParallelMap(source, abs, 3) as node:
        assert next(node) == 0
    assert set(threading.enumerate()) <= before
    assert source.state_dict()["_num_yielded"] <= 1 + 2 * 3


def test_a_parallel_map_closes_while_its_threads_take_items_that_it_cancels() -> None:
    def open_and_close() -> None:
        for _ in range(10):
            with ParallelMap(IterableWrapper(range(10**6)), abs, 2, ahead=5000) as node:
                node.reset()

    closing = threading.Thread(target=open_and_close, daemon=True)
    closing.start()
    closing.join(timeout=30)
    assert not closing.is_alive()


@pytest.mark.parametrize(
    ("folder", "split", "label"),
    [
        ("x/train/pos", "train", "pos"),
        ("a!/aclImdb/test/neg", "test", "neg"),
        ("x/train/unsup", "unsup", None),
        ("x/val/3", "valid", "3"),
        ("reviews/pos", None, None),
        ("train", None, None),
    ],
)
def test_the_layout_tells_split_and_label(folder: str, split: str | None, label: str | None) -> None:
    assert (layout_of(folder).split, layout_of(folder).label) == (split, label)


@pytest.mark.parametrize(
    ("stem", "stars"), [("12_8", 8), ("0_10", 10), ("5_0", None), ("5", None), ("a_8", None), ("1_99999999999", None)]
)
def test_the_file_name_tells_the_stars(stem: str, stars: int | None) -> None:
    assert stars_of(stem) == stars
