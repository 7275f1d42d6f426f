"""A review's probability is its own: batch-mates, batch size and threads do not change it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.batches.ragged import Ragged
from pipeline.errors import DataError, UsageError
from pipeline.models.bundle import Bundle
from pipeline.scoring.options import TOKENS_PER_REVIEW
from pipeline.scoring.predictor import Predictor
from pipeline.text.tokenizers import tokenize
from tests.support.scoring import MAX_LENGTH, make_bundle, make_texts, make_vocabulary

IDS = pa.list_(pa.int32())


def encoded(count: int) -> pa.ListArray:
    return make_vocabulary().encode(tokenize("basic_english", pa.array(make_texts(count))))


def one_by_one(bundle: Bundle, ids: pa.ListArray) -> np.ndarray:
    """The model called with each review alone, without padding."""
    model = bundle.load_model("cpu")
    rows = []
    for review in ids.to_pylist():
        tokens = torch.tensor([review[:MAX_LENGTH] or [1]])
        with torch.inference_mode():
            rows.append(torch.softmax(model(tokens, torch.tensor([tokens.shape[1]])), dim=1)[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("arch", ["rnn", "lstm", "bilstm"])
def test_probabilities_are_those_of_each_review_alone(tmp_path: Path, arch: str) -> None:
    bundle = make_bundle(tmp_path / arch, arch)
    ids = encoded(150)
    expected = one_by_one(bundle, ids)
    assert expected.std() > 0.05, "the random model should tell reviews apart"
    for batch_size, threads in ((1, 1), (3, 2), (64, 2)):
        with Predictor(bundle, "cpu", batch_size, threads=threads) as predictor:
            np.testing.assert_allclose(predictor.predict(ids), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("arch", ["rnn", "md-rnn"])
def test_batches_hold_each_review_once_and_grow_where_there_are_many(tmp_path: Path, arch: str) -> None:
    with Predictor(make_bundle(tmp_path / arch, arch), "cpu", batch_size=1, threads=2) as predictor:
        sizes = []
        for count in (600, 6000):
            ids = pa.array([[2] * (1 + n % MAX_LENGTH) for n in range(count)], IDS)
            reviews = Ragged.from_lists(ids, MAX_LENGTH)
            plan = predictor.plan(reviews)
            assert sorted(np.concatenate(plan).tolist()) == list(range(count))
            sizes.append(max(len(rows) * int(reviews.lengths[rows].max()) for rows in plan))
        assert max(sizes) <= predictor.max_tokens
        if arch == "rnn":  # goes without padding: a multiple of the batch, half of it while threads would go idle
            assert TOKENS_PER_REVIEW < sizes[0] <= predictor.max_tokens / 2 < sizes[1]


def test_reviews_without_text_give_nan(bundle: Bundle) -> None:
    with Predictor(bundle, "cpu") as predictor:
        probability_NC = predictor.predict(pa.array([None, [2, 3], None, []], IDS))
    assert np.isnan(probability_NC).all(axis=1).tolist() == [True, False, True, False]
    np.testing.assert_allclose(probability_NC[[1, 3]].sum(axis=1), 1.0, atol=1e-6)


def test_no_reviews_give_no_rows(bundle: Bundle) -> None:
    with Predictor(bundle, "cpu") as predictor:
        assert predictor.predict(pa.array([], IDS)).shape == (0, 2)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "broken", scale=float("nan"))
    with Predictor(bundle, "cpu") as predictor, pytest.raises(DataError, match="NaN or infinite"):
        predictor.predict(pa.array([[2, 3]], IDS))


def test_torch_has_its_threads_back_afterwards(bundle: Bundle) -> None:
    before = torch.get_num_threads()
    with Predictor(bundle, "cpu") as predictor:
        predictor.predict(encoded(20))
        assert predictor.threads == before
    assert torch.get_num_threads() == before


def test_bf16_stays_near(bundle: Bundle) -> None:
    ids = encoded(30)
    with Predictor(bundle, "cpu") as exact, Predictor(bundle, "cpu", precision="bf16") as rough:
        difference = np.abs(exact.predict(ids) - rough.predict(ids)).max()
    assert 0 < difference < 0.1


@pytest.mark.parametrize(
    ("options", "message"), [({"device": "gpu"}, "--device: 'gpu' is not known"), ({"precision": "int8"}, "bf16")]
)
def test_unknown_choices_are_named(bundle: Bundle, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Predictor(bundle, **options)
