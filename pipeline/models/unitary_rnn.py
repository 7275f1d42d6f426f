"""The unitary evolution RNN: a complex recurrence whose matrix preserves norms.

    h_t = modReLU(W h_{t−1} + V x_t),   W = D₃ R₂ F⁻¹ D₂ Π R₁ F D₁,   modReLU(z) = relu(|z| + b) z/|z|

h_t: H complex units; x_t: E real features; V: H × E complex; b: H real; h_0 is learned. D: diagonal of phases e^{iθ};
R = I − 2vv*/‖v‖²; F: unitary Fourier transform; Π: a fixed permutation. States are [Re h, Im h]: (B, T, 2H).
W is multiplied out once a forward pass, so that a step is one real product of 2H × 2H.

Source: Arjovsky, Shah & Bengio 2015, "Unitary evolution recurrent neural networks", ICML 2016, equations 6 to 8.
"""

from pipeline.models.layers.recurrent_classifier import RecurrentClassifier
from pipeline.models.layers.unitary import UnitaryRNN


class UnitaryRNNClassifier(RecurrentClassifier, layer=UnitaryRNN, features_per_unit=2):
    """RNN with a unitary recurrence. Equations and shapes at the top of the file."""

    year = 2015
    paper = "Arjovsky, Shah & Bengio 2015, Unitary evolution recurrent neural networks"
    summary = "complex RNN whose recurrence keeps norms"
