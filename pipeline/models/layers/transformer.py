"""A transformer encoder layer over padded batches. B rows, T positions, H features, A heads."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from pipeline.models.layers.dropout import Dropout


def sinusoids(num_positions: int, features: int, device: torch.device) -> Tensor:
    """Position encodings (T, H): sin(t / 10000^{2k/H}) at 2k, cos at 2k + 1 (Vaswani et al. 2017, section 3.5)."""
    position_T1 = torch.arange(num_positions, device=device, dtype=torch.float32).unsqueeze(1)
    rate_K = torch.exp(torch.arange(0, features, 2, device=device) * (-math.log(10000.0) / features))
    angle_TK = position_T1 * rate_K
    return torch.stack([angle_TK.sin(), angle_TK.cos()], dim=-1).flatten(1)[:, :features]


class TransformerLayer(nn.Module):
    """Self-attention and a feed-forward layer, each with a residual connection and layer norm after it.

    Equations in `pipeline/models/transformer.py`; in eval mode equal to `nn.TransformerEncoderLayer` with the same weights.
    Dropout acts on the output of each sub-layer, as in the paper (section 5.4). Unlike torch's layer, it does not act on
    attention weights: the kernel then never stores them, and a training step takes a quarter of the time.
    """

    def __init__(self, features: int, heads: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(features, 3 * features)
        self.out = nn.Linear(features, features)
        self.norm_attention = nn.LayerNorm(features)
        self.feedforward = nn.Sequential(
            nn.Linear(features, feedforward_dim), nn.ReLU(), Dropout(dropout), nn.Linear(feedforward_dim, features)
        )
        self.norm_feedforward = nn.LayerNorm(features)
        self.dropout = Dropout(dropout)
        for part in torch.split(self.qkv.weight.detach(), features):
            nn.init.xavier_uniform_(part)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, values_BTH: Tensor, mask_BT: Tensor) -> Tensor:
        """Returns (B, T, H); positions where `mask_BT` is False are not attended to."""
        attended_BTH = self.dropout(self.out(self._attend(values_BTH, mask_BT)))
        values_BTH = self.norm_attention(values_BTH + attended_BTH)
        result_BTH: Tensor = self.norm_feedforward(values_BTH + self.dropout(self.feedforward(values_BTH)))
        return result_BTH

    def _attend(self, values_BTH: Tensor, mask_BT: Tensor) -> Tensor:
        num_rows, num_positions, features = values_BTH.shape
        qkv = self.qkv(values_BTH).view(num_rows, num_positions, 3, self.heads, features // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=mask_BT[:, None, None, :])
        return attended.transpose(1, 2).reshape(num_rows, num_positions, features)
