"""The linear model of n-grams: what it learns, how large it gets, and that it is a function of its rows."""

import numpy as np
import pytest
import torch

from pipeline.lake.shards import plain_shards
from pipeline.models.configs.nbsvm import NbsvmConfig
from pipeline.models.layers.ngram_linear import MAX_WEIGHTS, NgramLinear, bounded_bits, num_columns
from pipeline.models.nbsvm import Nbsvm
from pipeline.order.selection import Part, select
from pipeline.scoring.attribution import attribute
from pipeline.tasks.classification import log_count_ratios
from pipeline.tasks.registry import task_for
from pipeline.training.blending import Reading, collect
from pipeline.training.ngram_fit import NgramOptions, default_epochs, fit_ngrams
from tests.support.token_corpus import Corpus, write_corpus


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Corpus]:
    labels = {2: ("neg", "pos"), 4: ("a", "b", "c", "d")}
    return {n: write_corpus(tmp_path_factory.mktemp("ngrams"), 600, labels=names) for n, names in labels.items()}


def _parts(corpus: Corpus) -> tuple[Part, Part]:
    selection, _ = select(plain_shards(corpus.shards), task_for(corpus.vocabulary), 0.2)
    return selection.part("train"), selection.part("valid")


def _fit(corpus: Corpus, **options: object) -> NgramLinear:
    train, _ = _parts(corpus)
    settings = NgramOptions(**options)  # type: ignore[arg-type]
    return fit_ngrams(train, settings, task=task_for(corpus.vocabulary), max_length=1000, vocab_size=len(corpus.vocabulary))


@pytest.mark.parametrize("classes", [2, 4])
def test_it_learns_the_words_that_tell(corpora: dict[int, Corpus], classes: int) -> None:
    corpus = corpora[classes]
    model = _fit(corpus)
    reading = Reading(
        max_length=1000, vocab_size=len(corpus.vocabulary), batch_size=64, device=torch.device("cpu"), precision="fp32"
    )

    outputs = collect([model], _parts(corpus)[1], reading, "valid")

    assert outputs.evaluation(task_for(corpus.vocabulary), outputs.outputs_JNC[0]).figures()["accuracy"] > 0.8


def test_the_same_rows_and_seed_give_the_same_bits(corpora: dict[int, Corpus]) -> None:
    first, again, other = _fit(corpora[2]), _fit(corpora[2]), _fit(corpora[2], seed=1)

    assert torch.equal(first.weights, again.weights) and torch.equal(first.bias, again.bias)
    assert not torch.equal(first.weights, other.weights)


def test_few_ngrams_need_few_buckets_and_many_classes_are_bounded(corpora: dict[int, Corpus]) -> None:
    assert _fit(corpora[2]).weights.numel() < 2**18
    for classes in (2, 3, 50, 1000):
        bits = bounded_bits(22, classes)
        assert (1 << bits) * num_columns(classes) <= MAX_WEIGHTS
    assert bounded_bits(22, 2) == 22


def test_log_count_ratios_are_those_of_the_definition() -> None:
    counts_KC = np.array([[3, 0], [1, 1], [0, 0], [0, 4]], np.int32)
    p, q = np.array([1, 2, 1, 5]), np.array([4, 2, 1, 1])

    expected = np.log(p / p.sum()) - np.log(q / q.sum())
    expected[2] = 0

    assert log_count_ratios(counts_KC)[:, 0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_review_scores_alike_whatever_its_padding_and_neighbours(classes: int) -> None:
    model = _random_model(classes)
    long, short = [5, 6, 7, 5, 6, 9], [8, 6, 7]
    together = model(torch.tensor([long, [*short, 0, 0, 0]]), torch.tensor([6, 3]))

    assert torch.equal(together[0], model(torch.tensor([long]), torch.tensor([6]))[0])
    assert torch.equal(together[1], model(torch.tensor([short]), torch.tensor([3]))[0])
    assert together.shape == (2, classes)


@pytest.mark.parametrize("classes", [2, 3])
def test_what_tokens_say_adds_up_to_the_logits(classes: int) -> None:
    model = Nbsvm(NbsvmConfig(vocab_size=12, num_classes=classes, ngrams=3, bits=10))
    model.linear = _random_model(classes)
    ids_BT, lengths_B = torch.tensor([[5, 6, 5, 6], [7, 8, 0, 0]]), torch.tensor([4, 2])
    model.eval()

    logits_BC = model(ids_BT, lengths_B)
    target_B = torch.tensor([classes - 1, 0])
    said_BT = attribute(model, ids_BT, lengths_B, target_B)

    embedded_BTC = model.embed(ids_BT, lengths_B)
    assert torch.allclose(model.classify(embedded_BTC, ids_BT, lengths_B), logits_BC, atol=1e-5)
    expected_B = (logits_BC - model.linear.bias_logits()).gather(1, target_B[:, None])[:, 0]
    assert torch.allclose(said_BT.sum(dim=1), expected_B, atol=1e-4)
    assert said_BT[1, 2:].eq(0).all()


def _random_model(classes: int) -> NgramLinear:
    torch.manual_seed(0)
    model = NgramLinear(classes, 3, 10)
    model.set_weights(torch.randn(1 << 10, num_columns(classes)), torch.randn(num_columns(classes)))
    return model


@pytest.mark.parametrize(("rows", "epochs"), [(1, 10), (500, 10), (2_000, 10), (8_000, 2), (20_000, 1), (10**7, 1)])
def test_few_reviews_are_read_more_often(rows: int, epochs: int) -> None:
    assert default_epochs(rows, 32) == epochs
