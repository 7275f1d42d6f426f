"""Word vectors from the reviews themselves: near in use, near in space."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datapipes.train_loader import LoaderOptions
from pipeline.lake.shards import plain_shards
from pipeline.order.selection import Part, select
from pipeline.training.word_vectors import text_vectors
from schemas.token import TOKEN
from tests.support.tasks import TWO_LABELS
from tests.support.token_corpus import write_corpus


def _vectors(part: Part, dim: int, vocab_size: int = 200, seed: int = 0) -> np.ndarray:
    return text_vectors(
        part, vocab_size=vocab_size, dim=dim, std=0.1, max_length=400, seed=seed, loader=LoaderOptions(workers=0)
    )


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """Two worlds of words that never meet: 10 to 59 and 60 to 109; token 110 never occurs."""
    corpus = write_corpus(tmp_path_factory.mktemp("vectors"), 300)
    (path,) = (shard.path for shard in plain_shards(corpus.shards))
    table = pq.read_table(path)
    random = np.random.default_rng(0)
    ids = [random.integers(10, 60, 30) + 50 * (row % 2) for row in range(len(table))]
    field = TOKEN.schema.field("ids")
    table = table.set_column(table.column_names.index("ids"), field, pa.array([row.tolist() for row in ids], field.type))
    pq.write_table(table, path, row_group_size=100)
    return select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")


def test_words_of_the_same_company_are_nearer_than_others(part: Part) -> None:
    vectors_VE = _vectors(part, 16)

    unit_VE = vectors_VE / np.linalg.norm(vectors_VE, axis=1, keepdims=True).clip(1e-9)
    first, second = unit_VE[10:60], unit_VE[60:110]
    assert (first @ first.T).mean() > (first @ second.T).mean() + 0.3
    assert vectors_VE[10:110].std() == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("dim", [1, 16, 300])
def test_every_token_has_a_vector_of_the_asked_width_and_spread(part: Part, dim: int) -> None:
    vectors_VE = _vectors(part, dim)

    assert vectors_VE.shape == (200, dim) and vectors_VE.dtype == np.float32
    assert (vectors_VE[0] == 0).all() and (vectors_VE[1:] != 0).any(axis=1).all()
    assert np.isfinite(vectors_VE).all() and vectors_VE[1:].std() == pytest.approx(0.1, rel=0.2)


def test_the_same_reviews_and_seed_give_the_same_bytes(part: Part) -> None:
    assert _vectors(part, 8).tobytes() == _vectors(part, 8).tobytes()
    assert _vectors(part, 8, seed=1).tobytes() != _vectors(part, 8).tobytes()


def test_two_tokens_beside_the_special_ones_are_enough(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 40, words=5)
    part = select(plain_shards(corpus.shards), TWO_LABELS, 0.2)[0].part("train")

    assert np.isfinite(_vectors(part, 4, vocab_size=5)).all()
