"""Language models: no state sees the token that it predicts, and what a review costs is what plain computation gives."""

import pytest
import torch
from torch.nn import functional

from pipeline.errors import UsageError
from pipeline.models.interface import ReviewClassifier
from pipeline.models.language_model import LanguageModel
from pipeline.models.registry import build_model
from tests.support.small_models import networks, small

VOCABULARY = 60
LENGTHS = torch.tensor([9, 5, 2, 1])


def make(arch: str, **options: object) -> LanguageModel:
    torch.manual_seed(0)
    body = build_model(arch, {"vocab_size": VOCABULARY, "num_classes": 1, **small(arch), **options})
    assert isinstance(body, ReviewClassifier)
    return LanguageModel(body, arch).eval()


def is_language_model(arch: str) -> bool:
    try:
        make(arch)
    except UsageError:
        return False
    return True


CAUSAL = [arch for arch in networks() if is_language_model(arch)]


@pytest.fixture
def reviews() -> torch.Tensor:
    ids = torch.randint(2, VOCABULARY, (4, 16), generator=torch.Generator().manual_seed(1))
    return ids * (torch.arange(16) < LENGTHS[:, None])


def test_which_architectures_can_be_pretrained() -> None:
    recurrent = {name for name in networks() if name not in ("bag", "md-rnn", "transformer")}
    assert recurrent == set(CAUSAL)


@pytest.mark.parametrize("arch", CAUSAL)
def test_no_state_sees_the_token_that_it_predicts(arch: str, reviews: torch.Tensor) -> None:
    model = make(arch)
    body, place = model.body, 4

    def states(ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return body.encode(body.embed(ids, LENGTHS), ids, LENGTHS)[0]

    other_BT = reviews.clone()
    other_BT[0, place] = (reviews[0, place] - 1) % (VOCABULARY - 2) + 2
    before_TS, after_TS = states(reviews), states(other_BT)
    width = before_TS.shape[1] // model.num_directions
    torch.testing.assert_close(before_TS[:place, :width], after_TS[:place, :width])
    assert not torch.allclose(before_TS[place:9, :width], after_TS[place:9, :width])
    if model.num_directions == 2:
        torch.testing.assert_close(before_TS[place + 1 : 9, width:], after_TS[place + 1 : 9, width:])
        assert not torch.allclose(before_TS[: place + 1, width:], after_TS[: place + 1, width:])


@pytest.mark.parametrize("arch", ["lstm", "bilstm", "bimingru"])
def test_a_review_costs_the_sum_over_its_predicted_tokens(arch: str, reviews: torch.Tensor) -> None:
    model = make(arch)
    with torch.no_grad():
        costs_BD = model(reviews.int(), LENGTHS)
        states_BTS = model.body.encode(model.body.embed(reviews, LENGTHS), reviews, LENGTHS)
        width = states_BTS.shape[2] // model.num_directions
        for row, length in enumerate(LENGTHS.tolist()):
            tokens = reviews[row, :length]
            expected = [_cost(model, states_BTS[row, : length - 1, :width], tokens[1:])]
            if model.num_directions == 2:
                expected.append(_cost(model, states_BTS[row, 1:length, width:], tokens[:-1]))
            torch.testing.assert_close(costs_BD[row], torch.stack(expected))
    assert (costs_BD[3] == 0).all(), "a review of one token predicts nothing"


def _cost(model: LanguageModel, states_NH: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    if not len(targets_N):
        return torch.zeros(())
    return functional.nll_loss(model.softmax.log_prob(states_NH), targets_N, reduction="sum")


@pytest.mark.parametrize("arch", CAUSAL)
def test_every_trained_parameter_moves_in_every_batch(arch: str) -> None:
    model = make(arch).train()
    frequent = torch.full((2, 3), 2)
    model(frequent, torch.tensor([3, 2])).sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert not any(name.startswith("head") for name in model.weights())
    assert {"embedding.weight", "softmax.head.weight"} <= model.weights().keys()


@pytest.mark.parametrize(
    ("arch", "options", "said"),
    [
        ("transformer", {}, "--arch transformer: its states see the whole review"),
        ("bag", {}, "--objective vectors, which fits every one"),
        ("bilstm", {"layers": 2}, "--arch bilstm --layers 2: the second layer reads both directions"),
        ("bimingru", {"layers": 3}, "Pretrain with --layers 1"),
    ],
)
def test_what_cannot_be_is_refused_in_words(arch: str, options: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make(arch, **options)


def test_layers_of_one_direction_stack() -> None:
    assert make("lstm", layers=2).num_directions == 1
