"""Classification behind the seam is what it was: the plain computation, to the last bit."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.tasks.classification import Classification

TASK = Classification(("neg", "meh", "pos"))
CPU = torch.device("cpu")
LOGITS_BC = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
LABELS_B = torch.arange(20) % 3


class OneRank:
    """A world of one."""

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def concatenate(self, rows: torch.Tensor) -> torch.Tensor:
        return rows


@pytest.mark.parametrize("counts", [[900.0, 1000.0, 1100.0], [1000.0, 1000.0, 10.0]])
def test_the_loss_is_cross_entropy_with_class_weights(counts: list[float]) -> None:
    task = TASK.weighted(counts, "auto")
    weight = None if counts[2] > 10 else torch.tensor([sum(counts) / (3 * count) for count in counts])
    expected = functional.cross_entropy(LOGITS_BC, LABELS_B, weight=weight, reduction="sum")
    assert torch.equal(task.loss_on(CPU)(LOGITS_BC, LABELS_B), expected)
    assert task.facts() == ({} if weight is None else {"class_weights": list(task.class_weights or ())})


def test_unlabelled_rows_learn_their_soft_targets() -> None:
    soft_UC = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
    mixed_BC = TASK.softened(torch.tensor([2, -2, -1]), soft_UC)
    assert mixed_BC.tolist() == [[0.0, 0.0, 1.0], soft_UC[1].tolist(), soft_UC[0].tolist()]
    assert TASK.softened(LABELS_B, None) is LABELS_B


def test_the_meter_and_arrays_give_the_same_figures() -> None:
    meter = TASK.meter(CPU)
    for part in (slice(0, 7), slice(7, 20)):
        meter.add(LOGITS_BC[part], LABELS_B[part])
    found = meter.evaluation(OneRank(), 55)
    again = TASK.evaluate(LOGITS_BC.double().numpy(), LABELS_B.numpy(), 55)

    right = (LOGITS_BC.argmax(dim=1) == LABELS_B).double().mean()
    assert found.figures() == again.figures() == {"accuracy": float(right)}
    assert (found.rows, found.tokens) == (again.rows, again.tokens) == (20, 55)
    assert found.loss == pytest.approx(again.loss, rel=1e-6)
    assert np.array_equal(found.confusion, again.confusion)


def test_answers_are_probabilities() -> None:
    assert torch.equal(TASK.answers(LOGITS_BC), torch.softmax(LOGITS_BC, dim=1))
