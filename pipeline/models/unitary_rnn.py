"""The unitary evolution RNN: a complex recurrence that neither shrinks nor grows what it remembers.

    h_t = modReLU(W h_{t−1} + V x_t),   W = D₃ R₂ F⁻¹ D₂ Π R₁ F D₁,   modReLU(z) = relu(|z| + b) z/|z|

h_t: H complex units; x_t: E real features; V: H × E complex; b: H real; h_0 is learned. D: diagonal of phases e^{iθ};
R = I − 2vv*/‖v‖²; F: unitary Fourier transform; Π: a fixed permutation. States are [Re h, Im h]: (B, T, 2H).
W is multiplied out once a forward pass, so that a step is one real product of 2H × 2H.

Source: Arjovsky, Shah & Bengio 2015, "Unitary evolution recurrent neural networks", ICML 2016, equations 6 to 8.
"""

from torch import Tensor

from pipeline.models.interface import RecurrentConfig, ReviewClassifier
from pipeline.models.layers.recurrent import stacked
from pipeline.models.layers.unitary import UnitaryRNN


class UnitaryRNNClassifier(ReviewClassifier):
    """RNN with a unitary recurrence. Equations and shapes stand at the file's top."""

    Config = RecurrentConfig
    year = 2015
    paper = "Arjovsky, Shah & Bengio 2015, Unitary evolution recurrent neural networks"
    summary = "complex RNN whose recurrence keeps norms"

    def __init__(self, config: RecurrentConfig) -> None:
        encoder = stacked(UnitaryRNN, config, features_per_unit=2)
        super().__init__(config, encoder.output_dim)
        self.encoder = encoder

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, 2H)."""
        states_BTS: Tensor = self.encoder(embedded_BTE, lengths_B)
        return states_BTS
