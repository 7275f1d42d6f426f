"""Updates of embeddings, dense and by row; averaging; schedules; what is chosen when nobody chooses."""

import pytest
import torch
from torch import nn

from pipeline.errors import UsageError
from pipeline.training.averaging import Average
from pipeline.training.optimizer import Optimizer, use_sparse
from pipeline.training.row_adam import RowAdam
from pipeline.training.schedule import lr_factor


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 6, padding_idx=0)
        self.head = nn.Linear(6, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(ids).mean(1))


def trained(sparse: bool, clip: float, batches: list[torch.Tensor]) -> Tiny:
    torch.manual_seed(0)
    model = Tiny()
    optimizer = Optimizer(model, 0.01, sparse=sparse)
    for ids in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids), ids[:, 0] % 2).backward()
        if clip:
            optimizer.clip(clip)
        optimizer.step(1.0)
    return model


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_by_row_equals_dense_when_every_batch_has_every_row(clip: float) -> None:
    batches = [torch.stack([torch.randperm(49) + 1 for _ in range(8)]) for _ in range(5)]
    dense, sparse = trained(False, clip, batches), trained(True, clip, batches)
    for one, other in zip(dense.parameters(), sparse.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_by_row_is_torchs_lazy_adam() -> None:
    """But for the place of eps, which torch's adds before the bias correction; so it is next to nothing here."""
    torch.manual_seed(1)
    ours, theirs = nn.Parameter(torch.randn(50, 6)), nn.Parameter(torch.zeros(50, 6))
    theirs.data.copy_(ours.data)
    optimizers = [RowAdam([ours], lr=0.01, eps=1e-30), torch.optim.SparseAdam([theirs], lr=0.01, eps=1e-30)]
    for _ in range(6):
        rows, values = torch.randint(0, 50, (1, 12)), torch.randn(12, 6)
        ours.grad = torch.sparse_coo_tensor(rows, values, (50, 6), check_invariants=True)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_rows_that_no_batch_had_stay_as_they_were() -> None:
    torch.manual_seed(0)
    before = Tiny().embedding.weight.detach().clone()
    after = trained(True, 1.0, [torch.tensor([[3, 7]])]).embedding.weight
    changed = (before != after).any(dim=1).nonzero().flatten().tolist()
    assert changed == [3, 7]


@pytest.mark.parametrize("sparse", [False, True])
def test_a_state_restored_goes_on_as_it_would_have(sparse: bool) -> None:
    torch.manual_seed(2)
    batches = [torch.randint(1, 50, (4, 3)) for _ in range(6)]
    whole = trained(sparse, 1.0, batches)
    torch.manual_seed(0)
    model = Tiny()
    optimizer = Optimizer(model, 0.01, sparse=sparse)
    for number, ids in enumerate(batches):
        if number == 3:
            state = {name: tensor.clone() for name, tensor in optimizer.state().items()}
            weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            model = Tiny()
            optimizer = Optimizer(model, 0.01, sparse=sparse)
            model.load_state_dict(weights)
            optimizer.load(state)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids), ids[:, 0] % 2).backward()
        optimizer.clip(1.0)
        optimizer.step(1.0)
    for one, other in zip(whole.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_automatic_choice() -> None:
    model = Tiny()
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert use_sparse("auto", model, cpu, 9, 1)
    assert not use_sparse("auto", model, cpu, 20, 1)
    assert not use_sparse("auto", model, cuda, 1, 1)
    assert use_sparse("sparse", model, cuda, 20, 1)
    with pytest.raises(UsageError, match="several GPUs"):
        use_sparse("sparse", model, cuda, 20, 2)


def test_averages_follow_the_weights_and_step_aside() -> None:
    model = Tiny()
    average = Average(model, 0.9)
    start = model.head.bias.detach().clone()
    with torch.no_grad():
        model.head.bias += 1.0
    average.update(1000)
    with average.applied():
        torch.testing.assert_close(model.head.bias, start + 0.1)
    torch.testing.assert_close(model.head.bias, start + 1.0)


def test_schedules() -> None:
    assert [lr_factor("constant", step, 10, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert lr_factor("linear", 6, 10, 2) == pytest.approx(0.5)
    assert lr_factor("cosine", 6, 10, 2) == pytest.approx(0.5)
    assert lr_factor("cosine", 10, 10, 2) == pytest.approx(0.0)
