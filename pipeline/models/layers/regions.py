"""Region features: what the tokens around a position have in common, learned from text without labels.

    h_t = relu(b + Σ_{|j| ≤ HALF} E[x_{t+j}])

A region is a bag of 2 · HALF + 1 tokens; places outside of the review add nothing. E and b are learned beforehand
(`training/regions.py`) and stay as they are while a network is trained.

Source: Johnson & Zhang 2015, "Semi-supervised convolutional neural networks for text categorization via region embedding",
section 3, with a bag of tokens as the region.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.layers.masking import token_mask
from schemas.vocabulary import PAD_ID

HALF = 2
"""Tokens of a region on each side of its position."""
STD = 1.0
"""Standard deviation of the learned features."""
WEIGHT, BIAS = "regions.weight", "regions.bias"
"""The names that E and b have among a network's tensors."""


class Regions(nn.Module):
    """`dim` features R of each position. Until they are set, they are zero.

    E (V, R) and b (R,) are buffers: written and read with the weights, but never trained with them.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, vocab_size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(vocab_size, dim))
        self.register_buffer("bias", torch.zeros(dim))

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The features (B, T, R), time-major in memory; meaningless at padding."""
        with torch.no_grad():
            ids_TB = (ids_BT * token_mask(lengths_B, ids_BT.shape[1])).t()  # `<pad>` has a row of zeros in E
            words_TBR = functional.embedding(ids_TB, self.weight)
            total_TBR = words_TBR + self.bias
            for distance in range(1, min(HALF, len(words_TBR) - 1) + 1):
                total_TBR[distance:] += words_TBR[:-distance]
                total_TBR[:-distance] += words_TBR[distance:]
            return total_TBR.relu_().transpose(0, 1)

    def set(self, weight_VR: Tensor, bias_R: Tensor) -> None:
        """Takes learned features; the row of `<pad>` stays zero."""
        self.weight.copy_(weight_VR)
        self.weight[PAD_ID] = 0.0
        self.bias.copy_(bias_R)
