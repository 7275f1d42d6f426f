"""Region features: the compiled loop is the one in NumPy, and words of the same surroundings get similar vectors."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datapipes.train_loader import LoaderOptions
from pipeline.lake.shards import plain_shards
from pipeline.order.selection import Part, select
from pipeline.training import region_tables, regions
from pipeline.training.region_tables import Rates, RegionTables, learn_compiled, learn_numpy
from pipeline.training.regions import LearnedRegions, Reviews, learn_regions
from schemas.token import TOKEN
from tests.support.tasks import TWO_LABELS
from tests.support.token_corpus import write_corpus

WORDS = 60
RANDOM = np.random.default_rng(5)


def tables(features: int = 32) -> RegionTables:
    random = np.random.default_rng(1)
    weight = random.normal(scale=0.1, size=(WORDS, features)).astype(np.float32)
    drawn = random.integers(10, WORDS, 256).astype(np.int32)
    return RegionTables.starting_at(weight, drawn, frequent=10, half=2, context=5)


@pytest.mark.skipif(not region_tables.COMPILED, reason="the kernel is not compiled")
def test_the_compiled_loop_does_what_numpy_does() -> None:
    offsets = np.cumsum([0, 1, 2, 37, 32, 64, 5, 200])
    ids = RANDOM.zipf(1.4, offsets[-1]).clip(1, WORDS - 1).astype(np.int32)
    compiled, other = tables(), tables()
    found = learn_compiled(compiled, ids, offsets, 77, Rates(0.05, 0.01))
    expected = learn_numpy(other, ids, offsets, 77, Rates(0.05, 0.01))
    assert found[1] == expected[1] > 0
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    for name in ("weight", "bias", "out", "of_weight", "of_bias", "of_out"):
        np.testing.assert_allclose(getattr(compiled, name), getattr(other, name), rtol=1e-3, atol=1e-5, err_msg=name)


def learned(part: Part, **options: int) -> LearnedRegions:
    sizes = {"vocab_size": WORDS, "dim": 10, "std": 1.0, "max_length": 400, "seed": 3} | options
    return learn_regions(part, loader=LoaderOptions(workers=0), **sizes)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """Words 40 + k and 50 + k stand in the same surroundings, between words 20 + 2 k and 21 + 2 k; 10 to 19 never occur."""
    corpus = write_corpus(tmp_path_factory.mktemp("regions"), 300)
    (path,) = (shard.path for shard in plain_shards(corpus.shards))
    table = pq.read_table(path)
    random = np.random.default_rng(0)
    rows = []
    for _ in range(len(table)):
        kind = int(random.integers(10))
        around = random.integers(20 + 2 * kind, 22 + 2 * kind, 12).tolist()
        rows.append([*around[:6], 40 + kind + 10 * int(random.integers(2)), *around[6:]])
    field = TOKEN.schema.field("ids")
    table = table.set_column(table.column_names.index("ids"), field, pa.array(rows, field.type))
    pq.write_table(table, path, row_group_size=100)
    return select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")


def test_the_same_text_gives_the_same_features(part: Part) -> None:
    first, second, other = learned(part), learned(part), learned(part, seed=4)
    np.testing.assert_array_equal(first.weight, second.weight)
    np.testing.assert_array_equal(first.bias, second.bias)
    assert not np.array_equal(first.weight, other.weight)


def test_words_of_the_same_surroundings_get_similar_vectors(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "TOKENS", 60_000)
    monkeypatch.setattr(regions, "FREQUENT", 5)
    weight = learned(part).weight
    unit = weight[40:60] / np.linalg.norm(weight[40:60], axis=1, keepdims=True)
    alike = unit @ unit.T
    partners = np.array([alike[kind, kind + 10] for kind in range(10)])
    assert partners.mean() > alike[~np.eye(20, dtype=bool)].mean() + 0.3


def test_the_features_vary_as_asked_for_and_unknown_tokens_add_nothing(part: Part) -> None:
    found = learned(part)
    assert (found.weight[:20] == 0).all(), "these tokens are not in the text"
    assert (found.weight[20:60] != 0).any(axis=1).all()
    wider = learned(part, dim=3)
    assert wider.weight.shape == (WORDS, 3)
    assert wider.bias.shape == (3,)


def test_chunks_contain_every_review_once() -> None:
    offsets = np.cumsum([0, 3, 1, 7, 2, 2]).astype(np.int64)
    reviews = Reviews(np.arange(15, dtype=np.int32), offsets)
    order = np.array([4, 0, 2, 3, 1])
    found = list(reviews.chunks(order, 5))
    assert len(found) > 1
    expected = [list(range(offsets[row], offsets[row + 1])) for row in order]
    rows = [chunk.ids[begin:end].tolist() for chunk in found for begin, end in itertools.pairwise(chunk.offsets)]
    assert rows == expected
    assert found[0].cut(3).tokens <= 3
