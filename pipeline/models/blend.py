"""The parts around an architecture in a bundle: its temperature, and the linear path of n-grams.

    logits = a · f(first tokens) + w · g(all tokens)

f: the architecture, which reads the beginning of a long review; g: the linear model of n-grams
(`layers/ngram_linear.py`), if any. Both scales are fitted on validation rows (`training/calibration.py`), so without g,
a is the inverse temperature. The parts keep their weights; B rows, T positions, C classes.

Source: Mesnil et al. 2014, "Ensemble of generative and discriminative techniques for sentiment analysis of movie reviews";
Cheng et al. 2016, "Wide & deep learning for recommender systems"; temperature: Guo et al. 2017, "On calibration of modern
neural networks", section 4.2.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.models.interface import Classifier
from pipeline.models.layers.ngram_linear import NgramLinear


@dataclass(frozen=True, kw_only=True)
class BlendConfig:
    """`scale`: a; `ngram_scale`: w, with the n-grams' length and 2^`bits` buckets, `ngrams` 0 for no linear path.
    `max_length`: tokens that the architecture reads, the first ones, or half of them from each end (`head-tail`)."""

    max_length: int
    truncation: str = "head"
    scale: float = 1.0
    ngram_scale: float = 0.0
    ngrams: int = 0
    bits: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class Blend(Classifier):
    """An architecture with its temperature and, maybe, n-grams. Equation and shapes at the top of the file."""

    def __init__(self, deep: Classifier, config: BlendConfig, ngrams: NgramLinear | None = None) -> None:
        super().__init__(deep.config)
        self.blend, self.deep = config, deep
        self.ngrams = ngrams
        if ngrams is None and config.ngrams:
            self.ngrams = NgramLinear(deep.config.num_classes, config.ngrams, config.bits)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C), see `Classifier.forward`."""
        deep_BC: Tensor = self.deep(*self.cut(ids_BT, lengths_B))
        return self.combine(deep_BC, ids_BT, lengths_B)

    def embed(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """What the architecture embeds, of the tokens that it reads."""
        return self.deep.embed(*self.cut(ids_BT, lengths_B))

    def classify(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C), given what `embed` gave for the same tokens."""
        return self.combine(self.deep.classify(embedded_BTE, *self.cut(ids_BT, lengths_B)), ids_BT, lengths_B)

    def combine(self, deep_BC: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The logits, given those of the architecture."""
        return self.combined(deep_BC, None if self.ngrams is None else self.ngrams(ids_BT, lengths_B))

    def combined(self, deep_BC: Tensor, ngram_BC: Tensor | None) -> Tensor:
        """The logits, given those of the architecture and of the n-grams, if any."""
        logits_BC = deep_BC.float() * self.blend.scale
        return logits_BC if ngram_BC is None else logits_BC + ngram_BC * self.blend.ngram_scale

    def cut(self, ids_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens that the architecture reads."""
        return cut(ids_BT, lengths_B, self.blend.max_length, self.blend.truncation)

    def num_parameters(self) -> int:
        """How many numbers were fitted, those of the linear path included."""
        return self.deep.num_parameters() + (self.ngrams.weights.numel() if self.ngrams is not None else 0)


def cut_places(lengths_B: Tensor, max_length: int, truncation: str) -> Tensor:
    """Where in its row each of the tokens that are kept stands, for rows of any length: int64 (B, `max_length`)."""
    place_T = torch.arange(max_length, device=lengths_B.device)
    if truncation == "head":
        return place_T.expand(len(lengths_B), -1)
    skipped_B1 = (lengths_B - max_length).clamp_min(0).unsqueeze(1)
    return place_T + skipped_B1 * (place_T >= max_length // 2)


def cut(ids_BT: Tensor, lengths_B: Tensor, max_length: int, truncation: str) -> tuple[Tensor, Tensor]:
    """At most `max_length` tokens of each row: the first ones, or as many from each end, the odd one from the end."""
    if ids_BT.shape[1] <= max_length:
        return ids_BT, lengths_B
    kept_B = lengths_B.clamp_max(max_length)
    if truncation == "head":
        return ids_BT[:, :max_length].contiguous(), kept_B
    return ids_BT.gather(1, cut_places(lengths_B, max_length, truncation)), kept_B
