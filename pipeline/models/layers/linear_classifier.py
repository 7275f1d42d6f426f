"""Linear models of hashed n-grams, each counted once: what `--arch nbsvm` and `--arch ridge` share.

    outputs_c = b_c + Σ_k w_kc,   w_kc = v_kc · s · r_kc,   k over the distinct 1- to `ngrams`-grams of the review

`training/ngram_fit.py` fits them; for equations and shapes, see `layers/ngram_linear.py`.
"""

from typing import ClassVar

from torch import Tensor

from pipeline.models.configs.base import ArchitectureConfig
from pipeline.models.configs.nbsvm import NbsvmConfig
from pipeline.models.interface import Classifier
from pipeline.models.layers.ngram_linear import NgramLinear


class LinearClassifier(Classifier):
    """The linear model of n-grams. Equations at the top of the file. What it embeds a token as, is what its n-grams say."""

    Config: ClassVar[type[ArchitectureConfig]] = NbsvmConfig

    def __init__(self, config: NbsvmConfig) -> None:
        super().__init__(config)
        self.linear = NgramLinear(config.num_classes, config.ngrams, config.bits)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C); see `Classifier.forward`."""
        logits_BC: Tensor = self.linear(ids_BT, lengths_B)
        return logits_BC

    def embed(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """What the n-grams that first end at each token say for each class: (B, T, C)."""
        return self.linear.contributions(ids_BT, lengths_B)

    def classify(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C): the sum of what all tokens say, and the bias."""
        return embedded_BTE.sum(dim=1) + self.linear.bias_logits().to(embedded_BTE.device)

    def num_parameters(self) -> int:
        """How many numbers are fitted."""
        return self.linear.weights.numel() + self.linear.bias.numel()
