"""The encoder of the transformer: attention alone, no recurrence.

    x = √H · P e_t + pos_t                                       (P: E → H, only where E ≠ H)
    x ← LayerNorm(x + Concat_a(softmax(Q_a K_aᵀ / √(H/A)) V_a) W_o),   Q_a, K_a, V_a = x W_a^Q, x W_a^K, x W_a^V
    x ← LayerNorm(x + W_2 relu(W_1 x + b_1) + b_2)                repeated `layers` times

e_t: E features of token t; x: H features; A heads; pos: sinusoids; padding is not attended to. States are (B, T, H).
Memory and time grow with T².

Source: Vaswani et al. 2017, "Attention is all you need", section 3.
"""

import math
from typing import ClassVar

from torch import Tensor, nn

from pipeline.models.configs.base import ModelConfig
from pipeline.models.configs.transformer import TransformerConfig
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.dropout import Dropout
from pipeline.models.layers.masking import token_mask
from pipeline.models.layers.transformer import TransformerLayer, sinusoids


class Transformer(ReviewClassifier):
    """Transformer encoder. Equations and shapes at the top of the file."""

    Config: ClassVar[type[ModelConfig]] = TransformerConfig
    year = 2017
    paper = "Vaswani et al. 2017, Attention is all you need"
    summary = "encoder of self-attention, no recurrence"

    def __init__(self, config: TransformerConfig) -> None:
        width = config.hidden_dim
        super().__init__(config, width)
        self.width = width
        self.projection = nn.Identity() if config.input_dim == width else nn.Linear(config.input_dim, width)
        self.position_dropout = Dropout(config.attention_dropout)
        self.transformer_layers = nn.ModuleList(
            TransformerLayer(width, config.heads, config.feedforward_dim, config.attention_dropout)
            for _ in range(config.layers)
        )

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, H), 0 at padding."""
        mask_BT = token_mask(lengths_B, embedded_BTE.shape[1])
        position_TH = sinusoids(embedded_BTE.shape[1], self.width, embedded_BTE.device)
        projected_BTH = self.projection(embedded_BTE) * math.sqrt(self.width)
        values: Tensor = self.position_dropout(projected_BTH + position_TH.to(projected_BTH.dtype))
        for layer in self.transformer_layers:
            values = layer(values, mask_BT)
        return values.masked_fill(~mask_BT.unsqueeze(-1), 0.0)
