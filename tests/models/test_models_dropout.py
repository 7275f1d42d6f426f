"""Dropout by random words, and rows read backwards: what they give, and their gradients."""

import pytest
import torch

from pipeline.models.layers.dropout import Dropout
from pipeline.models.layers.masking import reversal, reverse


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("time_major", [False, True])
def test_zeroes_its_share_and_scales_the_rest(probability: float, time_major: bool) -> None:
    torch.manual_seed(0)
    values = torch.ones(41, 63, 37)
    values = (values.transpose(0, 1) if time_major else values).requires_grad_()
    found = Dropout(probability)(values)
    kept = found != 0
    assert kept.float().mean().item() == pytest.approx(1 - probability, abs=0.01)
    for dimension in range(3):
        share = kept.float().mean(dim=[other for other in range(3) if other != dimension])
        assert share.min() > 1 - probability - 0.06 and share.max() < 1 - probability + 0.06
    torch.testing.assert_close(found[kept], torch.full_like(found[kept], 1 / (1 - probability)))
    assert found.stride() == values.stride()
    found.sum().backward()
    assert torch.equal(values.grad, found.detach()), "the gradient of ones is the mask"


def test_is_a_function_of_the_seed_and_absent_in_evaluation() -> None:
    values = torch.randn(3, 5)
    dropout = Dropout(0.5)
    torch.manual_seed(1)
    first, second = dropout(values), dropout(values)
    torch.manual_seed(1)
    assert torch.equal(dropout(values), first) and not torch.equal(second, first)
    assert dropout.eval()(values) is values or torch.equal(dropout.eval()(values), values)


def test_every_row_is_read_backwards_by_its_own_length() -> None:
    lengths = [4, 1, 3]
    values_BTD = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    place_N = reversal(torch.tensor(lengths), 4)
    found_BTD = reverse(values_BTD, place_N)
    for row, length in enumerate(lengths):
        assert torch.equal(found_BTD[row, :length], values_BTD[row, :length].flip(0))
        assert torch.equal(found_BTD[row, length:], values_BTD[row, length:])
    assert torch.equal(reverse(found_BTD, place_N), values_BTD)
    assert torch.autograd.gradcheck(reverse, (values_BTD, place_N))
    assert torch.autograd.gradgradcheck(reverse, (values_BTD, place_N))
