"""What padding means: which positions hold a token, where a row ends, and a row read backwards by its own length.

B rows of a batch, T positions, D features. Everything stays on the device of its arguments.
"""

import torch
from torch import Tensor


def token_mask(lengths_B: Tensor, num_positions: int) -> Tensor:
    """True where a position holds a token: bool (B, T)."""
    return torch.arange(num_positions, device=lengths_B.device) < lengths_B.unsqueeze(1)


def reversal(lengths_B: Tensor, num_positions: int) -> Tensor:
    """For each position of a row, the position to read when the row's tokens run backwards: int64 (B, T).

    Tokens 0 … L−1 become L−1 … 0 and padding stays where it is, so the map is its own inverse.
    """
    position_T = torch.arange(num_positions, device=lengths_B.device)
    return torch.where(position_T < lengths_B.unsqueeze(1), lengths_B.unsqueeze(1) - 1 - position_T, position_T)


def reorder(values_BTD: Tensor, index_BT: Tensor) -> Tensor:
    """`values[b, index[b, t]]` at (b, t): one gather of whole rows."""
    num_rows, num_positions, num_features = values_BTD.shape
    offset_B1 = torch.arange(num_rows, device=index_BT.device).unsqueeze(1) * num_positions
    flat = values_BTD.reshape(num_rows * num_positions, num_features)
    return flat.index_select(0, (index_BT + offset_B1).reshape(-1)).view(num_rows, num_positions, num_features)


def at_position(values_BTD: Tensor, position_B: Tensor) -> Tensor:
    """The features at one position of each row: (B, D)."""
    return values_BTD[torch.arange(values_BTD.shape[0], device=position_B.device), position_B]
