"""From the states of all positions to one vector a review. B rows, T positions, S features of a state."""

import torch
from torch import Tensor, nn

from pipeline.models.configs.base import POOLINGS
from pipeline.models.layers.masking import at_position, token_mask


class Pooling(nn.Module):
    """`last`: the final state; of a bidirectional encoder, the final states of both directions side by side.
    `max`, `mean`: over the tokens of the review. `max-mean`: both, concatenated. `attention`: the weighted mean with
    weights softmax(v·tanh(W s_t)) over the tokens (the self-attention of Lin et al. 2017, one row of their matrix).

    `output_dim` is the number of features that come out.
    """

    def __init__(self, kind: str, states_dim: int, *, bidirectional: bool = False) -> None:
        super().__init__()
        assert kind in POOLINGS, kind
        self.kind, self.bidirectional = kind, bidirectional
        self.output_dim = 2 * states_dim if kind == "max-mean" else states_dim
        if kind == "attention":
            self.key = nn.Linear(states_dim, states_dim)
            self.score = nn.Linear(states_dim, 1, bias=False)

    def forward(self, states_BTS: Tensor, lengths_B: Tensor) -> Tensor:
        """Returns (B, output_dim). Padding has no influence."""
        if self.kind == "last":
            return self._last(states_BTS, lengths_B)
        mask_BT = token_mask(lengths_B, states_BTS.shape[1])
        if self.kind == "attention":
            weights_BT = self.weights(states_BTS, lengths_B)
            return torch.bmm(weights_BT.unsqueeze(1), states_BTS).squeeze(1)
        if self.kind == "max":
            return masked_max(states_BTS, mask_BT)
        if self.kind == "mean":
            return masked_mean(states_BTS, mask_BT)
        return torch.cat([masked_max(states_BTS, mask_BT), masked_mean(states_BTS, mask_BT)], dim=1)

    def weights(self, states_BTS: Tensor, lengths_B: Tensor) -> Tensor:
        """The weights of `attention`: (B, T), 0 at padding, each row sums to 1."""
        scores_BT = self.score(torch.tanh(self.key(states_BTS))).squeeze(-1)
        return masked_softmax(scores_BT, token_mask(lengths_B, states_BTS.shape[1])).to(states_BTS.dtype)

    def _last(self, states_BTS: Tensor, lengths_B: Tensor) -> Tensor:
        final_BS = at_position(states_BTS, lengths_B - 1)
        if not self.bidirectional:
            return final_BS
        half = states_BTS.shape[2] // 2
        # The direction that reads from the end has read everything at the first position.
        return torch.cat([final_BS[:, :half], states_BTS[:, 0, half:]], dim=1)


def masked_max(states_BTS: Tensor, mask_BT: Tensor) -> Tensor:
    """The largest value of each feature over the tokens: (B, S)."""
    tokens_BTS = states_BTS.detach().masked_fill(~mask_BT.unsqueeze(-1), torch.finfo(states_BTS.dtype).min)
    if not states_BTS.requires_grad:
        return tokens_BTS.amax(dim=1)
    # The gradient goes to one position of a feature: that of `amax` compares all of them once more.
    place_B1S = tokens_BTS.max(dim=1, keepdim=True).indices
    return states_BTS.gather(1, place_B1S).squeeze(1)


def masked_mean(states_BTS: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean of each feature over the tokens: (B, S)."""
    weight_BT = mask_BT.to(states_BTS.dtype)
    return torch.bmm(weight_BT.unsqueeze(1), states_BTS).squeeze(1) / mask_BT.sum(dim=1, keepdim=True)


def masked_softmax(scores_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Softmax over the tokens, 0 at padding: (B, T)."""
    return torch.softmax(scores_BT.masked_fill(~mask_BT, float("-inf")), dim=1)
