"""Adam, with dense updates for everything, or with sparse updates for the embeddings.

A dense update touches every row of an embedding in every step, though a batch uses few of them. The sparse one (lazy
Adam: Kingma & Ba 2015, moments and weights of the rows in the batch only) costs what the batch costs.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from pipeline.errors import DataError, UsageError
from pipeline.training.row_adam import RowAdam, merge


def use_sparse(choice: str, model: nn.Module, device: torch.device, batch_tokens: int, num_ranks: int) -> bool:
    """Whether embeddings get sparse updates.

    `auto` chooses them on a CPU if the embeddings have many more rows than a batch has tokens; on a GPU, the dense update
    is faster, because the sparse one waits for the number of distinct rows.

    Raises:
        UsageError: requested on several GPUs; NCCL cannot sum sparse gradients.
    """
    if choice == "sparse" and device.type == "cuda" and num_ranks > 1:
        raise UsageError("--embedding-update sparse: sparse gradients are not supported on several GPUs. Use dense or auto.")
    if choice != "auto":
        return choice == "sparse"
    rows = sum(module.num_embeddings for module in embeddings(model))
    return device.type == "cpu" and rows > SPARSE_FROM * batch_tokens


SPARSE_FROM = 5.0
"""Rows of the embedding for each token of a batch, from which on sparse updates win on a CPU. One thread, update with
clipping and the embedding's own passes: 121,000 × 100 at 7,400 tokens 65 ms dense, 16 ms sparse; 30,000 × 100 at 7,400
16 and 15 ms; 30,000 × 128 at 14,700 29 and 37 ms."""


def embeddings(model: nn.Module) -> Iterable[nn.Embedding]:
    """The model's trainable embeddings."""
    return [module for module in model.modules() if isinstance(module, nn.Embedding) and module.weight.requires_grad]


class Optimizer:
    """Adam for a model's parameters, by name. Create it before the model is wrapped for several ranks."""

    def __init__(self, model: nn.Module, lr: float, *, sparse: bool = False) -> None:
        self.names = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        sparse_ids = set()
        for module in embeddings(model):
            module.sparse = sparse
            sparse_ids |= {id(module.weight)} if sparse else set()
        self.sparse = [parameter for parameter in self.names.values() if id(parameter) in sparse_ids]
        self.dense = [parameter for parameter in self.names.values() if id(parameter) not in sparse_ids]
        self.lr = lr
        self.optimizers: list[torch.optim.Optimizer] = []
        if self.dense:
            self.optimizers.append(torch.optim.Adam(self.dense, lr=lr, fused=True))
        if self.sparse:
            self.optimizers.append(RowAdam(self.sparse, lr))

    def zero_grad(self) -> None:
        """Clears all gradients."""
        for parameter in self.names.values():
            parameter.grad = None

    def clip(self, max_norm: float) -> None:
        """Scales the gradients down to a norm if they exceed it. Nothing waits for the GPU."""
        gradients = []
        for parameter in self.names.values():
            if parameter.grad is not None:
                if parameter.grad.is_sparse:
                    parameter.grad = merge(parameter.grad)
                gradients.append(_values(parameter.grad))
        norm = nn.utils.get_total_norm(gradients)
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor)

    def step(self, factor: float) -> None:
        """One update with the learning rate times `factor`."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * factor
            optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Every tensor of the state, as `<parameter>/<key>`."""
        found = {}
        for name, parameter in self.names.items():
            for optimizer in self.optimizers:
                for key, value in optimizer.state.get(parameter, {}).items():
                    found[f"{name}/{key}"] = torch.as_tensor(value)
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restores the result of `state`.

        Raises:
            DataError: it belongs to other parameters.
        """
        for name, parameter in self.names.items():
            keys = {full.rpartition("/")[2]: tensor for full, tensor in state.items() if full.rpartition("/")[0] == name}
            if state and not keys:
                raise DataError(
                    f"the checkpoint has no optimizer state for {name}. It belongs to another model; train without --resume."
                )
            optimizer = self.optimizers[-1] if any(parameter is other for other in self.sparse) else self.optimizers[0]
            if keys:
                optimizer.state[parameter] = {key: tensor.to(parameter.device) for key, tensor in keys.items()}


def _values(gradient: Tensor) -> Tensor:
    return gradient._values() if gradient.is_sparse else gradient
