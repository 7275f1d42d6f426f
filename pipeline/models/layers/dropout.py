"""Dropout whose mask is cheap to draw on a CPU."""

import torch
from torch import Tensor, nn

BITS = 16
"""Random bits for each value: a probability is kept to 1/65,536."""


class Dropout(nn.Dropout):
    """`nn.Dropout`, with the mask cut from whole random words: torch draws one number for each value, 10 ns each, which
    was a seventh of a `bilstm` step on two threads."""

    def forward(self, input: Tensor) -> Tensor:  # the name is nn.Dropout's
        """Zeroes values with probability `p` and scales the others by 1 / (1 − p), in training; the input otherwise."""
        if not self.training or self.p == 0.0 or input.device.type != "cpu":
            return super().forward(input)
        like = torch.empty_like(input, dtype=torch.int16)
        words = torch.empty(-(-like.numel() // (64 // BITS)), dtype=torch.int64).random_(-(2**63), None)
        drawn = words.view(torch.int16)[: like.numel()].as_strided(like.shape, like.stride())
        threshold = round(self.p * 2**BITS) - 2 ** (BITS - 1)
        kept = (drawn >= threshold).to(input.dtype)
        return torch.mul(input, kept.mul_(1.0 / (1.0 - self.p)))
