"""What padding means: which positions hold a token, where a row ends, and a row read backwards by its own length.

B rows of a batch, T positions, D features. Everything stays on the device of its arguments.
"""

from typing import Any

import torch
from torch import Tensor


def token_mask(lengths_B: Tensor, num_positions: int) -> Tensor:
    """True where a position holds a token: bool (B, T)."""
    return torch.arange(num_positions, device=lengths_B.device) < lengths_B.unsqueeze(1)


def reversal(lengths_B: Tensor, num_positions: int) -> Tensor:
    """Where `reverse` finds each row's tokens in the opposite order, as places of a time-major table: int64 (T · B,).

    Tokens 0 … L−1 become L−1 … 0 and padding stays where it is, so the map is its own inverse.
    """
    position_T1 = torch.arange(num_positions, device=lengths_B.device).unsqueeze(1)
    turned_TB = torch.where(position_T1 < lengths_B, lengths_B - 1 - position_T1, position_T1)
    num_rows = lengths_B.shape[0]  # not len(), which an export to ONNX takes for a constant
    return (turned_TB * num_rows + torch.arange(num_rows, device=lengths_B.device)).flatten()


class _Reverse(torch.autograd.Function):
    """The gradient of a map that is its own inverse is the map again: a gather, where autograd would scatter."""

    @staticmethod
    def forward(values_BTD: Tensor, place_N: Tensor) -> Tensor:
        num_rows, num_positions, num_features = values_BTD.shape
        table_ND = values_BTD.transpose(0, 1).reshape(num_rows * num_positions, num_features)
        return table_ND.index_select(0, place_N).view(num_positions, num_rows, num_features).transpose(0, 1)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        context.save_for_backward(inputs[1])

    @staticmethod
    def backward(context: Any, gradient_BTD: Tensor) -> tuple[Tensor, None]:
        return reverse(gradient_BTD, *context.saved_tensors), None


def reverse(values_BTD: Tensor, place_N: Tensor) -> Tensor:
    """Each row read backwards by its own length (B, T, D), time-major in memory; `place_N` is what `reversal` gives."""
    reversed_BTD: Tensor = _Reverse.apply(values_BTD, place_N)  # type: ignore[no-untyped-call]
    return reversed_BTD


def at_position(values_BTD: Tensor, position_B: Tensor) -> Tensor:
    """The features at one position of each row: (B, D)."""
    return values_BTD[torch.arange(values_BTD.shape[0], device=position_B.device), position_B]
