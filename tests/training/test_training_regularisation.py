"""Words left out, locked dropout and adversarial perturbations: what they do to a batch, and that a resume repeats them."""

import pytest
import torch
from torch import Tensor

from pipeline.datapipes.train_read import RowGroupReader
from pipeline.datapipes.train_requests import ReadRequest
from pipeline.lake.shards import plain_shards
from pipeline.models.blend import cut
from pipeline.models.interface import ReviewClassifier
from pipeline.models.registry import build_model
from pipeline.order.selection import select
from pipeline.training.regularisation import RegularisedClassifier, drop_words
from tests.support.tasks import TWO_LABELS
from tests.support.token_corpus import Corpus, write_corpus


def _model() -> ReviewClassifier:
    torch.manual_seed(0)
    model = build_model(
        "lstm",
        {"vocab_size": 50, "num_classes": 2, "embedding_dim": 8, "hidden_dim": 8, "dropout": 0.0, "embedding_dropout": 0.0},
    )
    assert isinstance(model, ReviewClassifier)
    return model


def _batch(rows: int = 6, positions: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    lengths_B = torch.randint(1, positions + 1, (rows,))
    ids_BT = torch.randint(2, 50, (rows, positions)) * (torch.arange(positions) < lengths_B[:, None])
    return ids_BT, lengths_B, torch.randint(0, 2, (rows,))


def test_words_are_left_out_in_order_and_at_the_rate_asked_for() -> None:
    ids_BT = torch.arange(2, 1026).expand(8, -1).contiguous()
    lengths_B = torch.tensor([1024, 512, 100, 1, 1024, 1024, 1024, 1024])

    kept_BT, left_B = drop_words(ids_BT, lengths_B, 0.25)

    for row, left, length in zip(kept_BT, left_B.tolist(), lengths_B.tolist(), strict=True):
        words = row[:left].tolist()
        assert 1 <= left <= length and words == sorted(set(words)) and max(words) < 2 + length
        assert row[left:].eq(0).all()
    assert left_B[[0, 4, 5, 6, 7]].float().mean() == pytest.approx(768, rel=0.03)
    assert kept_BT.shape[1] % 16 == 0


def test_a_review_keeps_a_word_however_many_are_left_out() -> None:
    kept_BT, left_B = drop_words(torch.full((50, 3), 7), torch.full((50,), 3), 0.99)

    assert left_B.min() == 1 and kept_BT[:, 0].eq(7).all()


def test_the_perturbation_has_the_size_asked_for_and_raises_the_loss_of_every_review() -> None:
    model = _model()
    regularised = RegularisedClassifier(model, 0.0)
    ids_BT, lengths_B, labels_B = _batch()
    before_B = torch.nn.functional.cross_entropy(regularised(ids_BT, lengths_B, keep=True), labels_B, reduction="none")
    before_B.sum().backward()

    change_BTE = regularised.perturbation(0.5, lengths_B)

    mean_norm = model.embedding(ids_BT[ids_BT > 0]).norm(dim=1).mean()
    assert torch.allclose(change_BTE.flatten(1).norm(dim=1), 0.5 * mean_norm.expand(len(ids_BT)), rtol=1e-4)
    assert change_BTE[ids_BT == 0].eq(0).all()
    after_B = torch.nn.functional.cross_entropy(regularised(ids_BT, lengths_B, change_BTE), labels_B, reduction="none")
    assert (after_B > before_B).all()


def test_locked_dropout_takes_the_same_features_from_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    seen: list[Tensor] = []

    def classify(embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        seen.append(embedded_BTE.detach())
        return embedded_BTE.sum(dim=(1, 2))

    monkeypatch.setattr(model, "classify", classify)
    ids_BT, lengths_B, _ = _batch()

    RegularisedClassifier(model, 0.5)(ids_BT, lengths_B)

    ratio_BTE = seen[0] / model.embed(ids_BT, lengths_B).detach()
    per_review = [ratio_BTE[row, :length] for row, length in enumerate(lengths_B)]
    assert all(torch.allclose(tokens, tokens[:1].expand_as(tokens), atol=1e-5) for tokens in per_review)
    assert {round(value) for tokens in per_review for value in tokens[0].tolist()} == {0, 2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("regularisation"), 200, row_groups=(200,))


@pytest.mark.parametrize("truncation", ["head", "head-tail"])
@pytest.mark.parametrize("max_length", [1, 7, 10, 1000])
def test_reading_and_the_model_cut_long_reviews_alike(corpus: Corpus, truncation: str, max_length: int) -> None:
    part = select(plain_shards(corpus.shards), TWO_LABELS, 0.1)[0].part("train")
    request = ReadRequest(0, 0, False)
    whole = RowGroupReader(part, 10_000)(request)
    lengths = torch.from_numpy(whole.offsets[1:] - whole.offsets[:-1])
    ids = torch.zeros(len(lengths), int(lengths.max()), dtype=torch.int32)
    for row, (begin, end) in enumerate(zip(whole.offsets[:-1], whole.offsets[1:], strict=True)):
        ids[row, : end - begin] = torch.from_numpy(whole.values[begin:end])

    read = RowGroupReader(part, max_length, truncation=truncation)(request)
    cut_BT, kept_B = cut(ids, lengths, max_length, truncation)

    assert kept_B.tolist() == (read.offsets[1:] - read.offsets[:-1]).tolist()
    expected = torch.cat([row[:kept] for row, kept in zip(cut_BT, kept_B, strict=True)])
    assert expected.tolist() == read.values.tolist()


def test_head_tail_keeps_both_ends() -> None:
    kept_BT, left_B = cut(torch.arange(1, 11)[None], torch.tensor([10]), 5, "head-tail")

    assert kept_BT.tolist() == [[1, 2, 8, 9, 10]] and left_B.tolist() == [5]
