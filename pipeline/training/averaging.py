"""Exponential moving average of the weights: often better than the last weights, and steadier."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Keeps the average of a model's parameters: a ← decay·a + (1 − decay)·w after each step.

    The decay is lower over the first steps, min(decay, (1 + n) / (10 + n)), so that the start is forgotten soon.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = dict(model.named_parameters())
        self.averages = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after a step (from 0)."""
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.averages.values()), [p.detach() for p in self.parameters.values()], weight)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block, the model has the averaged weights."""
        kept = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self._set(self.averages)
        try:
            yield
        finally:
            self._set(kept)

    def load(self, averages: Mapping[str, Tensor]) -> None:
        """Restores averages from a checkpoint."""
        for name, tensor in self.averages.items():
            tensor.copy_(averages[name])

    @torch.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])
