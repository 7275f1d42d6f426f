"""The options of `--arch bag`."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.models.configs.base import POOLINGS, EmbeddingDim, ModelConfig
from pipeline.options.option import MODEL, Option


@dataclass(frozen=True, kw_only=True)
class BagConfig(ModelConfig):
    """`ngrams`: the longest n-grams, 1 for words alone; `buckets`: embeddings that all n-grams share."""

    embedding_dim: EmbeddingDim = 32
    pooling: Annotated[str, Option(panel=MODEL, help="Pooling over tokens.", choices=POOLINGS)] = "mean"
    ngrams: Annotated[int, Option(panel=MODEL, help="The longest n-grams; 1 for words alone.", minimum=1, maximum=100)] = 2
    buckets: Annotated[int, Option(panel=MODEL, help="Embeddings that all n-grams share.", minimum=2, maximum=2**31)] = 2**18
