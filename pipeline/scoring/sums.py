"""Models whose logits are sums over a review's n-grams, computed from the reviews' ids alone, without padding or torch.

    nbsvm:  logits_c = b_c + Σ_k w_kc                over the distinct n-grams k of the review, see `layers/ngram_linear.py`
    bag:    logits_c = b_c + 1/F Σ_f (W e_f)_c       over its F words and n-grams f, see `models/bag.py`

A bag's embeddings e_f are multiplied with the last layer's W once for the whole table, so that each word or n-gram costs C
additions instead of E. Sums are made in double precision. N reviews, V words, K buckets, E embedding features, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.batches.ragged import Ragged
from pipeline.models.configs.bag import BagConfig
from pipeline.models.configs.base import ArchitectureConfig
from pipeline.models.configs.nbsvm import NbsvmConfig
from pipeline.models.registry import config_class
from pipeline.text.kernels import bag_sums, ngram_sums

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle

Floats = NDArray[np.float32]
Tensors = Mapping[str, NDArray[Any]]


class Sums(Protocol):
    """Gives the logits of reviews, none of them empty: float32 (N, C). Several threads may call it at once."""

    def __call__(self, reviews: Ragged) -> Floats: ...


@dataclass(frozen=True, eq=False)
class NgramSums:
    """The linear model of n-grams. `weights_KC`, `bias_C`: float32, with one column for two classes."""

    weights_KC: Floats
    bias_C: Floats
    ngrams: int
    bits: int
    num_classes: int

    @classmethod
    def of(cls, tensors: Tensors, prefix: str, ngrams: int, bits: int, num_classes: int) -> "NgramSums":
        """The model with the tensors of an `NgramLinear` named `prefix`.

        Raises:
            ValueError: tensors are missing, or of other shapes.
        """
        columns = 1 if num_classes == 2 else num_classes
        weights_KC = _taken(tensors, f"{prefix}weights", (1 << bits, columns))
        return cls(weights_KC, _taken(tensors, f"{prefix}bias", (columns,)), ngrams, bits, num_classes)

    def __call__(self, reviews: Ragged) -> Floats:
        sums_NC = np.empty((len(reviews.lengths), len(self.bias_C)), np.float32)
        ngram_sums(reviews.values, reviews.starts, reviews.lengths, self.ngrams, self.bits, self.weights_KC, sums_NC)
        sums_NC += self.bias_C
        return np.concatenate([-sums_NC / 2, sums_NC / 2], axis=1) if self.num_classes == 2 else sums_NC


@dataclass(frozen=True, eq=False)
class BagSums:
    """A bag of words and n-grams, pooled by their mean. `table_FC`: what each word, then each bucket says; float32."""

    table_FC: Floats
    bias_C: Floats
    words: int
    ngrams: int

    @classmethod
    def of(cls, tensors: Tensors, prefix: str, config: BagConfig) -> "BagSums":
        """The model with the tensors of a `Bag` named `prefix`.

        Raises:
            ValueError: tensors are missing, or of other shapes.
        """
        embedding_dim, classes = config.embedding_dim, config.num_classes
        parts = [_taken(tensors, f"{prefix}embedding.weight", (config.vocab_size, embedding_dim))]
        if config.ngrams > 1:
            parts.append(_taken(tensors, f"{prefix}ngram_embedding.weight", (config.buckets, embedding_dim)))
        head_CE = _taken(tensors, f"{prefix}head.weight", (classes, embedding_dim))
        table_FC = np.concatenate([part @ head_CE.T for part in parts])
        return cls(table_FC, _taken(tensors, f"{prefix}head.bias", (classes,)), config.vocab_size, config.ngrams)

    def __call__(self, reviews: Ragged) -> Floats:
        sums_NC = np.empty((len(reviews.lengths), len(self.bias_C)), np.float32)
        bag_sums(reviews.values, reviews.starts, reviews.lengths, self.ngrams, self.words, self.table_FC, sums_NC)
        features_N = sum(np.maximum(reviews.lengths - missing, 0) for missing in range(self.ngrams))
        logits_NC: Floats = sums_NC / np.asarray(features_N, np.float32)[:, None] + self.bias_C
        return logits_NC


@dataclass(frozen=True, eq=False)
class BlendedSums:
    """The model `deep`, of the first `max_length` tokens, with its temperature and maybe n-grams; see `models/blend.py`."""

    deep: Sums
    max_length: int
    scale: float
    wide: Sums | None
    wide_scale: float

    def __call__(self, reviews: Ragged) -> Floats:
        logits_NC: Floats = self.deep(reviews.head(self.max_length)) * np.float32(self.scale)
        if self.wide is not None:
            logits_NC += self.wide(reviews) * np.float32(self.wide_scale)
        return logits_NC


def read_sums(bundle: "Bundle") -> Sums | None:
    """The model of a bundle where it is one of sums; None where it is not, or where its weights do not fit it, which
    loading them into a module reports.

    Raises:
        InputNotFoundError: the weights are not there.
        DataError: the weights are not those that model.json names.
    """
    if bundle.arch not in ("bag", "nbsvm") or bundle.blend.get("truncation", "head") != "head":
        return None
    try:
        config = config_class(bundle.arch)(**bundle.model_config)
        if not is_sum(config) or config.num_classes != len(bundle.labels):
            return None
        tensors = bundle.load_tensors()
        if not bundle.blend:
            return sums_of(config, tensors)
        return _blended(sums_of(config, tensors, "deep."), bundle.blend, tensors, config.num_classes)
    except (KeyError, TypeError, ValueError):
        return None


def is_sum(config: ArchitectureConfig) -> bool:
    """Whether a model with this config is one of sums."""
    if isinstance(config, BagConfig):
        # With more classes than features, a table of what each feature says is larger than the embeddings.
        return config.pooling == "mean" and config.num_classes <= config.embedding_dim
    return isinstance(config, NbsvmConfig)


def sums_of(config: ArchitectureConfig, tensors: Tensors, prefix: str = "") -> Sums:
    """The model with this config; the names of its tensors begin with `prefix`.

    Raises:
        ValueError: tensors are missing, or of other shapes.
    """
    if isinstance(config, BagConfig):
        return BagSums.of(tensors, prefix, config)
    assert isinstance(config, NbsvmConfig)
    return NgramSums.of(tensors, f"{prefix}linear.", config.ngrams, config.bits, config.num_classes)


def _blended(deep: Sums, blend: Mapping[str, Any], tensors: Tensors, num_classes: int) -> BlendedSums:
    wide = None
    if blend.get("ngrams"):
        wide = NgramSums.of(tensors, "ngrams.", blend["ngrams"], blend["bits"], num_classes)
    return BlendedSums(deep, blend["max_length"], blend.get("scale", 1.0), wide, blend.get("ngram_scale", 0.0))


def _taken(tensors: Tensors, name: str, shape: tuple[int, ...]) -> Floats:
    if name not in tensors or tensors[name].shape != shape:
        raise ValueError(f"{name}: expected a tensor of the shape {shape}")
    return np.ascontiguousarray(tensors[name], np.float32)
