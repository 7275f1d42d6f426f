"""The loader on real Parquet files: the same batches for any ranks and workers, from any step, each rank its bytes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.datapipes.train_collate import LENGTH_STEP, Batch
from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader, decode
from pipeline.datapipes.train_requests import ReadRequest
from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake.shards import plain_shards
from pipeline.order.options import OrderOptions
from pipeline.order.order import Order
from pipeline.order.plan import EvaluationPlan, TrainPlan
from pipeline.order.selection import Part, RowGroup, select
from tests.support.tasks import TWO_LABELS
from tests.support.token_corpus import write_corpus

Steps = list[list[bytes]]


def rows_of(batch: Batch) -> list[bytes]:
    """What distinguishes the reviews of a batch: tokens and label."""
    return [
        bytes([int(label)]) + ids[:length].numpy().tobytes()
        for ids, length, label in zip(batch.ids, batch.lengths, batch.targets, strict=True)
    ][: batch.rows]


def steps_of(
    part: Part, rank: int = 0, ranks: int = 1, workers: int = 0, step: int = 0, batch_size: int = 16
) -> tuple[Steps, int]:
    order = Order(part.rows_per_group, OrderOptions(batch_size=batch_size, seed=2, window_rows=128, pool_steps=4), 1)
    reader = RowGroupReader(part, 60)
    with batches(TrainPlan(order, rank, ranks), reader, LoaderOptions(workers=workers), step) as stream:
        return [rows_of(batch) for batch in stream], reader.bytes_read


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    corpus = write_corpus(tmp_path_factory.mktemp("odd"), 500, row_groups=(7, 31, 1, 64, 50))
    return select(plain_shards(corpus.shards), TWO_LABELS, 0.2)[0].part("train")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ranks=st.integers(1, 8), workers=st.integers(0, 4))
def test_same_batches_for_any_ranks_and_workers(part: Part, ranks: int, workers: int) -> None:
    alone, _ = steps_of(part)
    shares = [steps_of(part, rank, ranks, workers)[0] for rank in range(ranks)]
    together = [sorted(row for share in step for row in share) for step in zip(*shares, strict=True)]
    assert together == [sorted(step) for step in alone]
    assert sum(map(len, alone)) == part.rows


@pytest.mark.slow
@pytest.mark.parametrize("row_groups", [(1,), (3, 1, 2), (500,), (13, 130)])
@pytest.mark.parametrize("workers", range(5))
@pytest.mark.parametrize("ranks", range(1, 9))
def test_same_batches_everywhere(tmp_path: Path, row_groups: tuple[int, ...], workers: int, ranks: int) -> None:
    corpus = write_corpus(tmp_path, 300, row_groups=row_groups, shard_groups=50)
    part = select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")
    alone, _ = steps_of(part)
    shares = [steps_of(part, rank, ranks, workers)[0] for rank in range(ranks)]
    assert [sorted(row for share in step for row in share) for step in zip(*shares, strict=True)] == [
        sorted(step) for step in alone
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_starts_at_any_step(part: Part, workers: int) -> None:
    whole, _ = steps_of(part)
    for step in (0, 1, 7, 8, len(whole) - 1, len(whole)):
        assert steps_of(part, workers=workers, step=step)[0] == whole[step:]


def test_seeking_reads_the_rest_only(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 4000, row_groups=(50,), shard_groups=20)
    part = select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")
    whole, whole_bytes = steps_of(part, batch_size=64)
    rest, rest_bytes = steps_of(part, batch_size=64, step=len(whole) - 6)
    assert rest == whole[-6:]
    assert rest_bytes < whole_bytes / 2


def test_each_of_two_ranks_reads_half(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 4000, row_groups=(100,), shard_groups=10)
    part = select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")
    _, alone = steps_of(part, batch_size=64)
    for rank in (0, 1):
        assert steps_of(part, rank, 2, batch_size=64)[1] <= 0.6 * alone


def test_a_row_group_is_read_once_by_one_rank(tmp_path: Path) -> None:
    """Windows share row groups at their borders; what the next one needs again is kept, not read again."""
    corpus = write_corpus(tmp_path, 3000, row_groups=(100,), shard_groups=10)
    part = select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")
    order = Order(part.rows_per_group, OrderOptions(batch_size=16, window_rows=800), 0)
    reader = RowGroupReader(part, 60)
    with batches(TrainPlan(order), reader, LoaderOptions(workers=0)) as stream:
        assert sum(batch.rows for batch in stream) == part.rows
    once = RowGroupReader(part, 60)
    with batches(EvaluationPlan(part.rows_per_group, 16), once, LoaderOptions(workers=0)) as stream:
        assert sum(batch.rows for batch in stream) == part.rows
    # A lane's cut begins and ends within a row group, which its neighbour reads at another time.
    assert reader.bytes_read <= once.bytes_read * (1 + 16 / 30)


def test_batches_are_padded_cut_and_whole(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 200, mean_length=40)
    part = select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")
    with batches(EvaluationPlan(part.rows_per_group, 32), RowGroupReader(part, 25), LoaderOptions(workers=2)) as stream:
        for batch in stream:
            assert batch.ids.dtype == torch.int32
            assert batch.ids.shape == (batch.rows, -(-int(batch.lengths.max()) // LENGTH_STEP) * LENGTH_STEP)
            assert int(batch.lengths.max()) <= 25
            assert batch.tokens == int((batch.ids != 0).sum()) == int(batch.lengths.sum())


def test_the_loops_threads_are_its_own_after_the_loader(part: Part) -> None:
    before = torch.get_num_threads()
    steps_of(part, workers=3)
    assert torch.get_num_threads() == before


def test_a_shard_that_goes_away_is_named(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 300)
    part = select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")
    for path in corpus.shards.iterdir():
        path.unlink()
    with pytest.raises(InputNotFoundError, match=r"does not exist\. Run 'pipeline repair'"):
        steps_of(part, workers=2)


@pytest.mark.parametrize(
    ("ids", "said"),
    [([5, -1], "IDs from -1 to 5, "), ([200, 2], "IDs from 2 to 200, .* 200 tokens"), ([None, 3], "null among its IDs")],
)
def test_ids_outside_the_vocabulary_name_the_shard(tmp_path: Path, ids: list[int | None], said: str) -> None:
    path = tmp_path / "shard.parquet"
    columns = {"ids": pa.array([[2, 3], ids], pa.list_(pa.int32())), "label": pa.array([1, 0], pa.int32())}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match=f"{path} contains {said}"):
        RowGroupReader(Part((RowGroup(path, 0, 2),), (np.array([0, 1]),)), 60, 200)(ReadRequest(0, 0, False))


@pytest.mark.parametrize("column", ["label", "review_id", "ids"])
def test_a_damaged_column_names_the_shard(tmp_path: Path, column: str) -> None:
    corpus = write_corpus(tmp_path, 300)
    path = corpus.shards / "train-0000.parquet"
    group = pq.read_metadata(path).row_group(0)
    chunk = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema.startswith(column))
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    content = bytearray(path.read_bytes())
    content[begin : begin + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path} cannot be read"):
        steps_of(select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train"))


def test_an_empty_review_is_one_unknown_token(part: Part) -> None:
    table = pa.table({"ids": pa.array([[5, 6, 7], [], [8]], pa.list_(pa.int32())), "label": pa.array([1, 0, 1], pa.int32())})
    decoded = decode(table, np.array([0, 1, 2]), 2, ReadRequest(0, 0, False))
    assert decoded.values.tolist() == [5, 6, 1, 8]
    assert decoded.offsets.tolist() == [0, 2, 3, 4]
