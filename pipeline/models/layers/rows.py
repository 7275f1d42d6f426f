"""How the tokens of B rows lie in memory, so that a cell is written once: padded for training, side by side for scoring.

A cell computes with the last dimension alone and leaves what happens between positions to `Rows`. D features.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pipeline.models.layers import scan_kernel
from pipeline.models.layers.masking import token_mask
from pipeline.models.layers.scan import Direction, gated_average, joint_gated_average, scan, split


class Rows(ABC):
    """What a cell may ask of its rows. See `scan.py` for the equations."""

    @abstractmethod
    def scan(self, decay: Tensor, values: Tensor, direction: Direction) -> Tensor:
        """The states (…, D) of a scan; `decay` is (…, D) or (D,)."""

    @abstractmethod
    def average(self, gate: Tensor, values: Tensor, direction: Direction) -> Tensor:
        """The states (…, D) of a gated average."""

    @abstractmethod
    def joint_average(self, both: Tensor, direction: Direction) -> Tensor:
        """The same of gates and values side by side: (…, 2D) to (…, D)."""

    @abstractmethod
    def earlier(self, values: Tensor, offset: int, direction: Direction) -> Tensor:
        """What a reader in this direction, not `both`, met `offset` tokens before; zeros outside the row."""


class PaddedRows(Rows):
    """Tensors (T, B, D), rows padded beyond their lengths. Autograd differentiates all."""

    def __init__(self, lengths_B: Tensor) -> None:
        self._lengths_B = lengths_B

    def scan(self, decay: Tensor, values: Tensor, direction: Direction) -> Tensor:
        return scan(decay, values, self._lengths_B, direction)

    def average(self, gate: Tensor, values: Tensor, direction: Direction) -> Tensor:
        return gated_average(gate, values, self._lengths_B, direction)

    def joint_average(self, both: Tensor, direction: Direction) -> Tensor:
        return joint_gated_average(both, self._lengths_B, direction)

    def earlier(self, values: Tensor, offset: int, direction: Direction) -> Tensor:
        if not offset:
            return values
        mask_TB1 = token_mask(self._lengths_B, len(values)).t().unsqueeze(-1)
        values = values * mask_TB1.to(values.dtype)
        outside = torch.zeros_like(values[:offset])
        if direction == "forward":
            return torch.cat([outside, values[:-offset]])
        return torch.cat([values[offset:], outside])


class PackedRows(Rows):
    """Tensors (N, D): the tokens of all rows, one row after the other, on the CPU and without gradients."""

    def __init__(self, lengths_B: Tensor) -> None:
        lengths_B = lengths_B.contiguous()
        self.rows: scan_kernel.Rows = (lengths_B.cumsum(dim=0) - lengths_B, lengths_B)

    def scan(self, decay: Tensor, values: Tensor, direction: Direction) -> Tensor:
        return scan_kernel.packed_scan(decay, values, self.rows, split(direction, values))

    def average(self, gate: Tensor, values: Tensor, direction: Direction) -> Tensor:
        return scan_kernel.packed_gated_average(gate, values, self.rows, split(direction, values))

    def joint_average(self, both: Tensor, direction: Direction) -> Tensor:
        gate, values = both.chunk(2, dim=-1)
        return self.average(gate, values, direction)

    def earlier(self, values: Tensor, offset: int, direction: Direction) -> Tensor:
        starts_B, lengths_B = self.rows
        place_N = torch.arange(len(values)) - starts_B.repeat_interleave(lengths_B)
        if direction == "forward":
            return values.roll(offset, 0) * (place_N >= offset).unsqueeze(1).to(values.dtype)
        inside_N = place_N + offset < lengths_B.repeat_interleave(lengths_B)
        return values.roll(-offset, 0) * inside_N.unsqueeze(1).to(values.dtype)
