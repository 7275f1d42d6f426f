"""Reviews without a label: which are learned from, what the n-grams say of them, and that they help."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.lake.shards import plain_shards
from pipeline.order.folds import Fold
from pipeline.order.options import OrderOptions
from pipeline.order.order import Order
from pipeline.order.plan import EvaluationPlan, TrainPlan
from pipeline.order.selection import UNLABELLED, Part, Selection, select
from pipeline.training.blending import Reading, fit_beside
from pipeline.training.ngram_fit import NgramOptions, fit_ngrams
from pipeline.training.soft_targets import ModelTeacher, NgramTeacher, part_targets, soft_targets
from tests.support.tasks import TWO_LABELS
from tests.support.token_corpus import Corpus, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("unlabelled"), 240, test_rows=40, unsup_rows=400, row_groups=(70, 30))


def _selection(corpus: Corpus, unlabelled: float, fold: Fold | None = None) -> Selection:
    return select(plain_shards(corpus.shards), TWO_LABELS, 0.1, fold, unlabelled)[0]


def _ids(part: Part) -> list[str]:
    return [
        id_
        for group, rows in zip(part.groups, part.selected, strict=True)
        for id_ in pq.ParquetFile(group.path).read_row_group(group.index)["review_id"].take(rows).to_pylist()
    ]


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0, 100.0])
def test_so_many_unlabelled_reviews_for_each_labelled_one(corpus: Corpus, ratio: float) -> None:
    selection = _selection(corpus, ratio)

    rows = selection.part("train").rows
    part = selection.part(UNLABELLED)

    assert part.rows == min(400, round(ratio * rows))
    assert len(set(_ids(part))) == part.rows and all(id_.startswith("unsup/") for id_ in _ids(part))
    assert selection.part("train", UNLABELLED).rows == rows + part.rows


@pytest.mark.parametrize(("at_least", "expected"), [(10, None), (300, 300), (1000, 400)])
def test_few_labels_get_more_unlabelled_reviews_than_the_ratio(corpus: Corpus, at_least: int, expected: int | None) -> None:
    selection, counts = select(plain_shards(corpus.shards), TWO_LABELS, 0.1, unlabelled=0.5, at_least=at_least)

    assert selection.part(UNLABELLED).rows == (expected or round(0.5 * sum(counts)))


def test_none_are_used_where_none_are_asked_for(corpus: Corpus) -> None:
    selection, _ = select(plain_shards(corpus.shards), TWO_LABELS, 0.1, unlabelled=0.0, at_least=100)

    assert selection.part(UNLABELLED).rows == 0


def test_labelled_parts_do_not_depend_on_unlabelled_reviews(corpus: Corpus) -> None:
    without, with_ = _selection(corpus, 0.0), _selection(corpus, 2.0)

    for name in ("train", "valid", "test"):
        assert _ids(without.part(name)) == _ids(with_.part(name))


def test_reviews_of_a_held_out_fold_are_not_learned_from_even_without_their_labels(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 200)
    (shard,) = plain_shards(corpus.shards)
    table = pq.read_table(shard.path)
    labels = table["label"].to_pylist()
    unlabelled = table.set_column(
        table.column_names.index("label"),
        table.schema.field("label"),
        pa.array([None if row % 2 else label for row, label in enumerate(labels)], pa.int32()),
    )
    pq.write_table(unlabelled, shard.path, row_group_size=100)

    held = _selection(corpus, 0.0, Fold(0, 5)).part("test")
    films_held = {int(id_.split("/")[1]) // 4 for id_ in _ids(held)}
    learned = {int(id_.split("/")[1]) // 4 for id_ in _ids(_selection(corpus, 9.0, Fold(0, 5)).part(UNLABELLED))}

    assert films_held and learned and not films_held & learned


def test_each_unlabelled_row_bears_its_number_whatever_the_order(corpus: Corpus) -> None:
    learned = _selection(corpus, 1.0).part("train", UNLABELLED)
    alone = _selection(corpus, 1.0).part(UNLABELLED)
    expected = {}
    for part in (alone, learned):
        reader = RowGroupReader(part, 1000)
        order = Order(part.rows_per_group, OrderOptions(batch_size=16, seed=3), 0)
        found = {}
        with batches(TrainPlan(order), reader, LoaderOptions(workers=0)) as stream:
            for batch in stream:
                for ids_T, length, label in zip(batch.ids, batch.lengths, batch.targets, strict=True):
                    if label < 0:
                        found[int(-1 - label)] = tuple(ids_T[:length].tolist())
        assert sorted(found) == list(range(alone.rows))
        expected = expected or found
        assert found == expected


def test_the_n_grams_label_most_reviews_rightly_and_as_surely_as_they_are_right(corpus: Corpus) -> None:
    selection = _selection(corpus, 9.0)
    parts = {name: selection.part(name) for name in ("train", "valid", UNLABELLED)}
    reading = Reading(max_length=1000, vocab_size=200, batch_size=32, device=torch.device("cpu"), precision="fp32")
    fitted = fit_beside(parts["train"], NgramOptions(bits=12), TWO_LABELS, reading)

    found = soft_targets(
        NgramTeacher(fitted.model, TWO_LABELS, reading), TWO_LABELS, parts, selection.part("train", UNLABELLED), 0.0, "nbsvm"
    )
    targets_UC = found.targets_UC

    truth = np.array(
        [
            int(label)
            for group, rows in zip(parts[UNLABELLED].groups, parts[UNLABELLED].selected, strict=True)
            for label in pq.ParquetFile(group.path).read_row_group(group.index)["content_sha256"].take(rows).to_pylist()
        ]
    )
    assert targets_UC.shape == (400, 2) and np.allclose(targets_UC.sum(axis=1), 1, atol=1e-5)
    right = targets_UC.argmax(axis=1) == truth
    assert right.mean() > 0.9
    assert abs(right.mean() - targets_UC.max(axis=1).mean()) < 0.1


def _soft(part: Part, labels_N: np.ndarray) -> torch.Tensor:
    assert part.rows == len(labels_N)
    return torch.nn.functional.one_hot(torch.from_numpy(labels_N), 2).float()


def test_certain_soft_targets_are_labels_to_the_n_gram_model(corpus: Corpus) -> None:
    part = _selection(corpus, 0.0).part("train")
    fit = partial(fit_ngrams, options=NgramOptions(bits=12, epochs=2), task=TWO_LABELS, max_length=1000, vocab_size=200)

    labelled = fit(part)
    taught = fit(part.all_soft(), soft_targets_UC=_soft(part, part_targets(part, TWO_LABELS)))

    assert torch.equal(taught.weights, labelled.weights) and torch.equal(taught.bias, labelled.bias)


def test_an_uncertain_review_counts_half_for_each_class(corpus: Corpus) -> None:
    part = _selection(corpus, 0.0).part("train")
    model = fit_ngrams(
        part.all_soft(),
        NgramOptions(bits=12),
        task=TWO_LABELS,
        max_length=1000,
        vocab_size=200,
        soft_targets_UC=torch.full((part.rows, 2), 0.5),
    )
    assert not model.weights.any()


class _Fixed:
    """A teacher that is as sure of the first class as it is told to be."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def valid(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        return np.log(self.soft(part).astype(np.float64)), part_targets(part, TWO_LABELS)

    def soft(self, part: Part) -> np.ndarray:
        return np.tile(np.float32([self.probability, 1 - self.probability]), (part.rows, 1))


class _TooSure:
    """Probabilities of a model that is right three times in four and always 98 % sure."""

    def read(self, part: Part) -> np.ndarray:
        labels_N = part_targets(part, TWO_LABELS)
        said_N = np.where(np.arange(part.rows) % 4 == 0, 1 - labels_N, labels_N)
        return np.where(said_N[:, None] == np.arange(2), 0.98, 0.02).astype(np.float32)


def test_a_model_that_was_not_calibrated_is_calibrated_on_the_validation_part(corpus: Corpus) -> None:
    part = _selection(corpus, 0.0).part("train")
    for calibrate, sure in ((False, 0.98), (True, 0.75)):
        teacher = ModelTeacher(_TooSure(), TWO_LABELS, calibrate=calibrate)
        found = TWO_LABELS.evaluate(*teacher.valid(part), 0)
        assert found.accuracy == pytest.approx(0.75, abs=0.01)
        np.testing.assert_allclose(teacher.soft(part).max(axis=1), sure, atol=0.02)


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_teacher_is_mixed_with_labels_where_there_are_some(corpus: Corpus, weight: float) -> None:
    selection = _selection(corpus, 1.0)
    parts = {name: selection.part(name) for name in ("train", "valid", UNLABELLED)}
    learned = selection.part("train", UNLABELLED)

    found = soft_targets(_Fixed(0.8), TWO_LABELS, parts, learned, weight, "a teacher").targets_UC

    labels = part_targets(learned, TWO_LABELS)
    expected = {-1: 0.8, 0: 1 - 0.2 * weight, 1: 0.8 * weight}
    assert {*labels.tolist()} == {-1, 0, 1}
    np.testing.assert_allclose(found[:, 0], [expected[label] for label in labels.tolist()], rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-6)


def test_all_rows_bear_numbers_in_the_order_of_the_part(corpus: Corpus) -> None:
    part = _selection(corpus, 1.0).part("train", UNLABELLED).all_soft()
    found: dict[int, tuple[int, ...]] = {}
    plan = EvaluationPlan(part.rows_per_group, 16)
    with batches(plan, RowGroupReader(part, 1000), LoaderOptions(workers=0)) as stream:
        for batch in stream:
            for ids_T, length, label in zip(batch.ids, batch.lengths, batch.targets, strict=True):
                found[int(-1 - label)] = tuple(ids_T[:length].tolist())
    expected = [
        tuple(ids)
        for group, rows in zip(part.groups, part.selected, strict=True)
        for ids in pq.ParquetFile(group.path).read_row_group(group.index)["ids"].take(rows).to_pylist()
    ]
    assert [found[number] for number in range(part.rows)] == expected
