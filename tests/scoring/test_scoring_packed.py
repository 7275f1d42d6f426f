"""The forward pass without padding gives the ordinary logits, whatever the model, the lengths and the order of the rows."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.doctor.environment import environment_checks
from pipeline.models.interface import RecurrentConfig, ReviewClassifier
from pipeline.models.layers.recurrent_classifier import RecurrentClassifier
from pipeline.models.registry import architectures, build_model
from pipeline.scoring import cells, onednn, packed
from pipeline.scoring.packed import PackedForward

WORDS = 50
ARCHITECTURES = frozenset({"rnn", "birnn", "lstm", "bilstm", "gru", "bigru"})
"""Those that go without padding."""
CLASSES = 3
LENGTHS = st.lists(st.integers(1, 17), min_size=1, max_size=9)


def make_model(arch: str, hidden_dim: int = 6, **options: object) -> ReviewClassifier:
    """A model in eval mode with all parameters redrawn: zero biases would hide mistakes."""
    torch.manual_seed(3)
    sizes = {"vocab_size": WORDS, "num_classes": CLASSES, "embedding_dim": 5, "hidden_dim": hidden_dim}
    model = build_model(arch, sizes | options).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.uniform_(-1, 1).div_(parameter.shape[-1] ** 0.5)
    return model


def check(model: ReviewClassifier, lengths: list[int], *, table: bool) -> None:
    """On int32 ids in the order given, with other tokens than `<pad>` in the padding, which nobody may read."""
    lengths_B = torch.tensor(lengths)
    ids_BT = torch.randint(1, WORDS, (len(lengths), max(lengths) + 2), dtype=torch.int32)
    forward = PackedForward(model)
    if table:
        forward.make_table()
    with torch.inference_mode():
        torch.testing.assert_close(forward(ids_BT, lengths_B), model(ids_BT, lengths_B), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES))
@pytest.mark.parametrize("layers", [1, 2, 3])
@settings(max_examples=6)
@given(lengths=LENGTHS, table=st.booleans())
def test_gives_the_ordinary_logits(arch: str, layers: int, lengths: list[int], table: bool) -> None:
    for pooling in ("last", "max", "mean", "max-mean"):
        model = make_model(arch, layers=layers, pooling=pooling)
        assert PackedForward.supports(model)
        check(model, lengths, table=table)


@pytest.mark.parametrize("arch", ["rnn", "bilstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
@settings(max_examples=5)
@given(lengths=LENGTHS, table=st.booleans())
def test_features_of_regions_are_read_beside_the_embeddings(arch: str, layers: int, lengths: list[int], table: bool) -> None:
    model = make_model(arch, layers=layers, region_dim=4)
    assert model.regions is not None
    model.regions.set(torch.randn(WORDS, 4), torch.randn(4))
    check(model, lengths, table=table)


@pytest.mark.parametrize("arch", ["rnn", "gru", "bilstm"])
@pytest.mark.parametrize("threshold", [1, 1 << 30])
def test_products_of_both_libraries_agree(arch: str, threshold: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "ONEDNN_WEIGHTS", threshold)
    check(make_model(arch, hidden_dim=96, layers=2), [30, 7, 30, 1, 12], table=True)
    beside = make_model(arch, region_dim=4)
    assert beside.regions is not None
    beside.regions.set(torch.randn(WORDS, 4), torch.randn(4))
    check(beside, [9, 1, 5, 5], table=True)


def test_states_stay_exact_over_long_reviews() -> None:
    for arch in ("rnn", "gru", "lstm"):
        check(make_model(arch, hidden_dim=32), [2000, 1500], table=True)


def test_a_table_too_large_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("bilstm")
    monkeypatch.setattr(packed, "TABLE_BYTES", 4 * WORDS * 2 * 4 * 6 - 1)
    forward = PackedForward(model)
    forward.make_table()
    assert not forward.tables
    check(model, [5, 2], table=True)


def test_other_models_are_not_taken() -> None:
    sizes = {"vocab_size": WORDS, "num_classes": CLASSES}
    taken = {arch for arch in architectures() if PackedForward.supports(build_model(arch, sizes))}
    assert taken == ARCHITECTURES
    assert not PackedForward.supports(make_model("bilstm", pooling="attention"))


class Newcomer(RecurrentClassifier, layer=nn.GRU, bidirectional=True):
    """An architecture that this file alone knows."""


class Different(Newcomer):
    """One that pools in a way of its own."""

    def features(self, states_BTS: Tensor, lengths_B: Tensor) -> Tensor:
        return super().features(states_BTS, lengths_B) ** 2


def relu_layer(input_dim: int, hidden_dim: int) -> nn.Module:
    return nn.RNN(input_dim, hidden_dim, nonlinearity="relu", batch_first=True)


class Relu(RecurrentClassifier, layer=relu_layer):
    """One whose cell is torch's, but not the one that is computed here."""


def test_a_new_architecture_of_torchs_cells_goes_without_padding() -> None:
    config = RecurrentConfig(vocab_size=WORDS, num_classes=CLASSES, embedding_dim=5, hidden_dim=6, layers=2)
    model = Newcomer(config).eval().requires_grad_(False)
    assert PackedForward.supports(model)
    check(model, [5, 2, 9], table=True)
    assert not PackedForward.supports(Different(config))
    assert not PackedForward.supports(Relu(config))


@pytest.fixture
def fresh_onednn() -> Iterator[None]:
    """The trial of oneDNN's operators is made again, before and after the test."""
    onednn.refusal.cache_clear()
    yield
    onednn.refusal.cache_clear()


needs_onednn = pytest.mark.skipif(onednn.refusal() is not None, reason=f"oneDNN is not used here: {onednn.refusal()}")


@needs_onednn
@pytest.mark.parametrize("fault", ["missing", "raises", "wrong", "nan"])
def test_without_the_private_operators_the_public_product_scores(
    fault: str, fresh_onednn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def linear(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if fault == "raises":
            raise RuntimeError("expected 7 arguments")
        return torch.full((len(values), len(bias)), float("nan") if fault == "nan" else 1.0)

    if fault == "missing":
        monkeypatch.setattr(onednn, "OPERATORS", ("_no_such_operator",))
    else:
        monkeypatch.setattr(onednn, "linear", linear)
    said = {"missing": "no operator mkldnn::_no_such_operator", "raises": "RuntimeError: expected 7", "nan": "inf off"}
    assert said.get(fault, "off") in str(onednn.refusal())
    monkeypatch.setattr(cells, "ONEDNN_WEIGHTS", 1)
    check(make_model("bilstm", hidden_dim=96), [30, 7, 1], table=True)
    (line,) = (check for check in environment_checks() if check.name == "onednn")
    assert line.state == "OK"
    assert f"not used: {onednn.refusal()}" in line.detail


@needs_onednn
def test_doctor_says_that_the_operators_were_tried() -> None:
    (line,) = (check for check in environment_checks() if check.name == "onednn")
    assert (line.state, "checked against" in line.detail) == ("OK", True)
