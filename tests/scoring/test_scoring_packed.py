"""The forward pass without padding gives the ordinary logits, whatever the model, the lengths and the order of the rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.interface import ReviewClassifier
from pipeline.models.registry import architectures, build_model
from pipeline.scoring import cells, packed
from pipeline.scoring.packed import ARCHITECTURES, PackedForward

WORDS = 50
CLASSES = 3
LENGTHS = st.lists(st.integers(1, 17), min_size=1, max_size=9)


def make_model(arch: str, hidden_dim: int = 6, **options: object) -> ReviewClassifier:
    """A model in eval mode whose parameters are all drawn anew: biases of zero would hide mistakes."""
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
        assert PackedForward.supports(arch, model)
        check(model, lengths, table=table)


@pytest.mark.parametrize("arch", ["rnn", "gru", "bilstm"])
@pytest.mark.parametrize("threshold", [1, 1 << 30])
def test_products_of_both_libraries_agree(arch: str, threshold: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "ONEDNN_WEIGHTS", threshold)
    check(make_model(arch, hidden_dim=96, layers=2), [30, 7, 30, 1, 12], table=True)


def test_states_stay_exact_over_long_reviews() -> None:
    for arch in ("rnn", "gru", "lstm"):
        check(make_model(arch, hidden_dim=32), [2000, 1500], table=True)


def test_a_table_too_large_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("bilstm")
    monkeypatch.setattr(packed, "TABLE_BYTES", 4 * WORDS * 2 * 4 * 6 - 1)
    forward = PackedForward(model)
    forward.make_table()
    assert not forward._tables
    check(model, [5, 2], table=True)


def test_other_models_are_not_taken() -> None:
    for arch in set(architectures()) - ARCHITECTURES:
        assert not PackedForward.supports(arch, build_model(arch, {"vocab_size": WORDS, "num_classes": CLASSES}))
    assert not PackedForward.supports("bilstm", make_model("bilstm", pooling="attention"))
