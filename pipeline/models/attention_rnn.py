"""Attention over the outputs of a recurrent encoder, global or local.

    q = pooling(s_1 … s_L)                     the query: by default the encoder's final state
    e_t = vᵀ tanh(W_k s_t + W_q q + b)         additive;  q ᵀ W s_t: general;  qᵀ s_t / √S: scaled-dot
    global:  a_t = softmax_t(e_t) over the L tokens
    local:   p = (L − 1) σ(v_pᵀ tanh(W_p q));  a_t = softmax_t(e_t) over |t − p| ≤ D, times exp(−(t − p)² / (2 (D/2)²))
    c = Σ_t a_t s_t,   h̃ = tanh(W_c [c; q]),   logits = W h̃ + b

s: (B, T, S), the states of the encoder below (`cell`: any recurrent layer, in one or both directions); q: what
`--pooling` makes of them; D: `window`, in tokens; positions count from 0. `attention_weights` gives a, (B, T).

Source: additive: Bahdanau, Cho & Bengio 2014, "Neural machine translation by jointly learning to align and translate",
section 3.1; general, global, local and h̃: Luong, Pham & Manning 2015, "Effective approaches to attention-based neural
machine translation", equations 5 to 10; scaled-dot: Vaswani et al. 2017.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.models.configs.attention_rnn import BIDIRECTIONAL, AttentionRNNConfig
from pipeline.models.configs.base import ModelConfig
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.attention import QueryAttention
from pipeline.models.layers.peephole import PeepholeLSTM
from pipeline.models.layers.recurrent import MakeLayer, stacked, torch_layer

LAYERS: dict[str, MakeLayer] = {
    "rnn": torch_layer(nn.RNN),
    "lstm": torch_layer(nn.LSTM),
    "peephole-lstm": PeepholeLSTM,
    "gru": torch_layer(nn.GRU),
}


class AttentionRNN(ReviewClassifier):
    """Recurrent encoder with attention. Equations and shapes at the top of the file."""

    Config: ClassVar[type[ModelConfig]] = AttentionRNNConfig
    is_causal = True
    year = 2014
    paper = "Bahdanau, Cho & Bengio 2014, Jointly learning to align and translate; Luong, Pham & Manning 2015"
    summary = "attention over a recurrent encoder"

    def __init__(self, config: AttentionRNNConfig) -> None:
        bidirectional = config.cell in BIDIRECTIONAL
        make_layer = LAYERS[BIDIRECTIONAL.get(config.cell, config.cell)]
        encoder = stacked(make_layer, config, bidirectional=bidirectional)
        states_dim = encoder.output_dim
        super().__init__(config, states_dim, bidirectional=bidirectional, features_dim=states_dim)
        self.encoder = encoder
        query_dim = self.pooling.output_dim
        self.attention = QueryAttention(
            states_dim, query_dim, kind=config.attention, score=config.score, window=config.window
        )
        self.combine = nn.Linear(states_dim + query_dim, states_dim)

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, S)."""
        states_BTS: Tensor = self.encoder(embedded_BTE, lengths_B)
        return states_BTS

    def features(self, states_BTS: Tensor, lengths_B: Tensor) -> Tensor:
        """h̃: (B, S)."""
        query_BQ = self.pooling(states_BTS, lengths_B)
        context_BS, _ = self.attention(states_BTS, query_BQ, lengths_B)
        return torch.tanh(self.combine(torch.cat([context_BS, query_BQ], dim=1)))

    def attention_weights(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """a, scaled to sum to 1 (local attention's do not by themselves): (B, T)."""
        states_BTS = self.encode(self.embedding_dropout(self.embed(ids_BT, lengths_B)), ids_BT, lengths_B)
        weights_BT: Tensor = self.attention(states_BTS, self.pooling(states_BTS, lengths_B), lengths_B)[1]
        return weights_BT / weights_BT.sum(dim=1, keepdim=True)
