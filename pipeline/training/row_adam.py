"""Adam for embeddings with sparse gradients: moments and weights of the rows in the batch only (lazy Adam).

Source: Kingma & Ba 2015, algorithm 1, applied to the rows with a gradient, like `torch.optim.SparseAdam`, which takes
several times as long because it uses sparse tensors where plain rows suffice.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class RowAdam(torch.optim.Optimizer):
    """`lr` is the step size; betas and eps are Adam's. State: `step`, `exp_avg`, `exp_avg_sq`, as in Adam."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch's closures are for line searches
        """Updates the rows that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, sparse: Tensor, group: dict[str, Any]) -> None:
        rows, gradient = merged_rows(sparse)
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        step = float(state["step"])
        beta1, beta2 = group["betas"]
        mean = state["exp_avg"].index_select(0, rows).lerp_(gradient, 1 - beta1)
        square = state["exp_avg_sq"].index_select(0, rows).mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        denominator = square.sqrt_().div_((1 - beta2**step) ** 0.5).add_(group["eps"])
        parameter.index_add_(0, rows, mean.div_(denominator), alpha=-group["lr"] / (1 - beta1**step))


def merged_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows of a sparse gradient (K,), ascending, and their sums (K, E)."""
    rows, values = gradient._indices()[0], gradient._values()
    if gradient.is_coalesced():
        return rows, values
    distinct, place = torch.unique(rows, return_inverse=True)
    return distinct, values.new_zeros(len(distinct), values.shape[1]).index_add_(0, place, values)


def merge(gradient: Tensor) -> Tensor:
    """The sparse gradient with each row once."""
    rows, values = merged_rows(gradient)
    return torch.sparse_coo_tensor(rows[None], values, gradient.shape, is_coalesced=True, check_invariants=False)
