"""Attention of one query a review over its states: global or local. B rows, T positions, S state and Q query features."""

import torch
from torch import Tensor, nn

from pipeline.models.configs.attention_rnn import KINDS, SCORES
from pipeline.models.layers.masking import token_mask
from pipeline.models.layers.pooling import masked_softmax


class QueryAttention(nn.Module):
    """Scores, weights and the weighted mean; equations in `pipeline/models/attention_rnn.py`."""

    def __init__(self, states_dim: int, query_dim: int, *, kind: str, score: str, window: int) -> None:
        super().__init__()
        assert kind in KINDS and score in SCORES, (kind, score)
        self.kind = kind
        self.score_kind = score
        self.window = window
        self.query: nn.Module
        if score == "additive":
            self.key = nn.Linear(states_dim, states_dim, bias=False)
            self.query = nn.Linear(query_dim, states_dim)
            self.score = nn.Linear(states_dim, 1, bias=False)
        elif score == "general" or states_dim != query_dim:
            self.query = nn.Linear(query_dim, states_dim, bias=False)
        else:
            self.query = nn.Identity()
        if kind == "local":
            self.place_key = nn.Linear(query_dim, query_dim, bias=False)
            self.place = nn.Linear(query_dim, 1, bias=False)

    def forward(self, states_BTS: Tensor, query_BQ: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the context (B, S) and the weights (B, T), 0 at padding."""
        mask_BT = token_mask(lengths_B, states_BTS.shape[1])
        scores_BT = full_precision(self._scores(states_BTS, query_BQ))
        if self.kind == "global":
            weights_BT = masked_softmax(scores_BT, mask_BT)
        else:
            position_T = torch.arange(states_BTS.shape[1], device=states_BTS.device)
            centre_B1 = torch.sigmoid(full_precision(self.place(torch.tanh(self.place_key(query_BQ))))) * (
                lengths_B.unsqueeze(1) - 1
            )
            distance_BT = position_T - centre_B1
            weights_BT = masked_softmax(scores_BT, mask_BT & (distance_BT.abs() <= self.window))
            weights_BT = weights_BT * torch.exp(-distance_BT.square() / (2 * (self.window / 2) ** 2))
        weights_BT = weights_BT.to(states_BTS.dtype)
        return torch.bmm(weights_BT.unsqueeze(1), states_BTS).squeeze(1), weights_BT

    def _scores(self, states_BTS: Tensor, query_BQ: Tensor) -> Tensor:
        query_BS = self.query(query_BQ)
        if self.score_kind == "additive":
            scores_BT: Tensor = self.score(torch.tanh(self.key(states_BTS) + query_BS.unsqueeze(1))).squeeze(-1)
            return scores_BT
        scores_BT = torch.bmm(states_BTS, query_BS.to(states_BTS.dtype).unsqueeze(-1)).squeeze(-1)
        return scores_BT / states_BTS.shape[2] ** 0.5 if self.score_kind == "scaled-dot" else scores_BT


def full_precision(values: Tensor) -> Tensor:
    """At least float32: eight bits of bfloat16 cannot distinguish 400 positions."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
