"""The options of `--arch bag`."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.models.configs.base import POOLINGS, EmbeddingDim, ModelConfig
from pipeline.options.option import MODEL, Option


@dataclass(frozen=True, kw_only=True)
class BagConfig(ModelConfig):
    """`ngrams`: maximum n-gram length, 1 for single words; `buckets`: number of embeddings shared by all n-grams."""

    embedding_dim: EmbeddingDim = 32
    pooling: Annotated[str, Option(panel=MODEL, help="Pooling over tokens.", choices=POOLINGS)] = "mean"
    ngrams: Annotated[
        int, Option(panel=MODEL, help="Maximum n-gram length; 1 for single words.", minimum=1, maximum=100)
    ] = 2
    buckets: Annotated[
        int, Option(panel=MODEL, help="Number of embeddings shared by all n-grams.", minimum=2, maximum=2**31)
    ] = 2**18
