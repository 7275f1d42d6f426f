"""Gated orthogonal recurrent units: an orthogonal recurrence that gates let forget.

    r_t = σ(W_r h_{t−1} + V_r x_t + b_r)        z_t = σ(W_z h_{t−1} + V_z x_t + b_z)
    h̃_t = modReLU(V x_t + r_t ⊙ (U h_{t−1}), b),  modReLU(a, b) = sign(a) relu(|a| + b)
    h_t = z_t ⊙ h_{t−1} + (1 − z_t) ⊙ h̃_t,   h_0 = 0

x_t: E features; gates and h_t: H features. U: orthogonal, a product of `rotations` layers of plane rotations, multiplied
out once a forward pass. States are h: (B, T, H).

Source: Jing et al. 2017, "Gated orthogonal recurrent units: on learning to forget", section 3; U as in Jing et al. 2016.
"""

from functools import partial
from typing import ClassVar

from torch import Tensor

from pipeline.models.configs.base import ModelConfig
from pipeline.models.configs.goru import GORUConfig
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.recurrent import stacked
from pipeline.models.layers.unitary import GORU


class GORUClassifier(ReviewClassifier):
    """Gated orthogonal recurrent units. Equations and shapes at the top of the file."""

    Config: ClassVar[type[ModelConfig]] = GORUConfig
    is_causal = True
    year = 2017
    paper = "Jing et al. 2017, Gated orthogonal recurrent units: on learning to forget"
    summary = "gated units on an orthogonal recurrence"

    def __init__(self, config: GORUConfig) -> None:
        encoder = stacked(partial(GORU, num_factors=config.rotations), config)
        super().__init__(config, encoder.output_dim)
        self.encoder = encoder

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, H)."""
        states_BTS: Tensor = self.encoder(embedded_BTE, lengths_B)
        return states_BTS
