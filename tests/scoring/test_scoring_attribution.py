"""Attributions: complete, zero at padding, and pointing at the words that made the score."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pipeline.models.blend import Blend, BlendConfig
from pipeline.models.registry import build_model
from pipeline.scoring.attribution import attribute, integrated_gradients, without_cudnn
from tests.support.small_models import networks

IDS_BT = torch.tensor([[5, 9, 30, 7, 8, 2], [11, 4, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0]])
LENGTHS_B = torch.tensor([6, 2, 1])
TARGET_B = torch.tensor([0, 2, 1])


@pytest.mark.parametrize("arch", networks())
def test_integrated_gradients_sum_to_what_the_tokens_changed(arch: str) -> None:
    torch.manual_seed(0)
    model = build_model(arch, {"vocab_size": 40, "num_classes": 3, "embedding_dim": 8}).eval()
    found_BT = integrated_gradients(model, IDS_BT, LENGTHS_B, TARGET_B, steps=64)
    assert found_BT.shape == IDS_BT.shape and found_BT.dtype == torch.float32
    assert not found_BT[IDS_BT == 0].any()
    with torch.no_grad():
        embedded_BTE = model.embed(IDS_BT, LENGTHS_B)
        logits, baseline = (model.classify(e, IDS_BT, LENGTHS_B) for e in (embedded_BTE, torch.zeros_like(embedded_BTE)))
    expected_B = (logits - baseline).gather(1, TARGET_B.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(found_BT.sum(dim=1), expected_B, atol=2e-3, rtol=2e-2)


def test_attention_models_give_their_weights() -> None:
    torch.manual_seed(0)
    for arch, options in (("attention-rnn", {}), ("lstm", {"pooling": "attention"})):
        model = build_model(arch, {"vocab_size": 40, "num_classes": 3, **options}).eval()
        weights_BT = attribute(model, IDS_BT, LENGTHS_B, TARGET_B)
        torch.testing.assert_close(weights_BT.sum(dim=1), torch.ones(3))
        assert not weights_BT[IDS_BT == 0].any() and (weights_BT >= 0).all()
        assert not weights_BT.requires_grad


def test_points_at_the_word_that_made_the_score() -> None:
    torch.manual_seed(0)
    model = build_model("bag", {"vocab_size": 40, "num_classes": 3, "ngrams": 1}).eval()
    with torch.no_grad():
        model.embedding.weight.zero_()
        model.embedding.weight[7] = model.head.weight[0]
    weights_BT = attribute(model, IDS_BT, LENGTHS_B, TARGET_B)
    assert weights_BT[0].argmax() == 3 and weights_BT[0, 3] > 0 and weights_BT[0, :3].abs().max() == 0


@pytest.mark.parametrize("arch", ["bilstm", "attention-rnn", "md-rnn"])
def test_works_inside_inference_mode_and_leaves_the_model_as_it_was(arch: str) -> None:
    torch.manual_seed(0)
    model = build_model(arch, {"vocab_size": 40, "num_classes": 3}).eval()
    outside = attribute(model, IDS_BT, LENGTHS_B, TARGET_B)
    with torch.inference_mode():
        inside = attribute(model, IDS_BT.clone(), LENGTHS_B.clone(), TARGET_B.clone())
    assert torch.equal(inside, outside)
    assert all(parameter.grad is None for parameter in model.parameters()) and not model.training


@pytest.mark.parametrize("pooling", ["max-mean", "attention"])
def test_signed_attributions_of_a_blend_sum_over_all_its_tokens(pooling: str) -> None:
    """The architecture reads three tokens of a review, the n-grams all of them; attention weights are not asked for."""
    torch.manual_seed(0)
    deep = build_model("lstm", {"vocab_size": 40, "num_classes": 3, "embedding_dim": 8, "pooling": pooling})
    blend = BlendConfig(max_length=3, truncation="head-tail", scale=0.5, ngram_scale=0.3, ngrams=2, bits=8)
    model = Blend(deep, blend).eval()
    assert model.ngrams is not None
    model.ngrams.set_weights(torch.randn(256, 3), torch.randn(3))
    found_BT = attribute(model, IDS_BT, LENGTHS_B, TARGET_B, steps=64, signed=True)
    with torch.no_grad():
        read_BT, kept_B = model.cut(IDS_BT, LENGTHS_B)
        embedded_BTE = deep.embed(read_BT, kept_B)
        logits_BC = model(IDS_BT, LENGTHS_B)
        nothing_BC = deep.classify(torch.zeros_like(embedded_BTE), read_BT, kept_B) * 0.5 + model.ngrams.bias_logits() * 0.3
    expected_B = (logits_BC - nothing_BC).gather(1, TARGET_B.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(found_BT.sum(dim=1), expected_B, atol=2e-3, rtol=2e-2)


def test_cudnn_stays_off_in_every_thread_that_needs_it_off() -> None:
    before = torch.backends.cudnn.enabled
    gpu, begin = torch.device("cuda"), threading.Barrier(8)

    def found_off(_: int) -> bool:
        begin.wait()
        found = True
        for _ in range(50):
            with without_cudnn(gpu):
                time.sleep(1e-4)
                found &= not torch.backends.cudnn.enabled
        return found

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(found_off, range(8)))
    assert torch.backends.cudnn.enabled == before
