"""A bag of words and n-grams: averaged embeddings, no order but that inside an n-gram. fastText's model.

    logits = W (1/F Σ_f e_f) + b,   f over the F features of a review: its words, and its n-grams for n = 2 … `ngrams`

e_f: E features. A word has an embedding of its own; an n-gram shares one of `buckets` with all n-grams of the same hash:
hash(w_1 … w_n) = (… (w_1 · 116049371 + w_2) …) mod 2³¹ − 1, then mod buckets. States hold, at the place of token t, the
word and the n-grams that end there, scaled so that their mean is the sum over F: (B, T, E). The other poolings work on
the same states.

Source: Joulin et al. 2016, "Bag of tricks for efficient text classification", EACL 2017, sections 2 and 2.2.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.models.configs.bag import BagConfig
from pipeline.models.configs.base import ModelConfig
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.masking import token_mask

MULTIPLIER, PRIME = 116_049_371, 2**31 - 1


class Bag(ReviewClassifier):
    """Averaged embeddings of words and hashed n-grams. Equations and shapes at the top of the file."""

    Config: ClassVar[type[ModelConfig]] = BagConfig
    looked_up_by_id = ("ngram_embedding.weight",)
    year = 2016
    paper = "Joulin et al. 2016, Bag of tricks for efficient text classification"
    summary = "averaged words and hashed n-grams, the baseline"

    def __init__(self, config: BagConfig) -> None:
        super().__init__(config, config.embedding_dim)
        self.ngrams, self.buckets = config.ngrams, config.buckets
        self.ngram_embedding = None
        if config.ngrams > 1:
            self.ngram_embedding = nn.Embedding(config.buckets, config.embedding_dim, padding_idx=0)
            # An n-gram that was never seen says nothing.
            nn.init.zeros_(self.ngram_embedding.weight)

    def embed(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """At each token, the sum of the word and of the n-grams that end there: (B, T, E)."""
        embedded_BTE: Tensor = self.embedding(ids_BT)
        if self.ngram_embedding is None:
            return embedded_BTE
        mask_BT = token_mask(lengths_B, ids_BT.shape[1])
        words_BT = ids_BT.long()
        hash_BT = words_BT
        for length in range(2, self.ngrams + 1):
            # The (n−1)-gram that ended one token earlier, and this word.
            hash_BT = (torch.roll(hash_BT, 1, dims=1) * MULTIPLIER + words_BT) % PRIME
            whole_BT = mask_BT & (torch.arange(ids_BT.shape[1], device=ids_BT.device) >= length - 1)
            bucket_BT = torch.where(whole_BT, hash_BT % (self.buckets - 1) + 1, 0)
            embedded_BTE = embedded_BTE + self.ngram_embedding(bucket_BT)
        return embedded_BTE

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, E)."""
        features_B = sum((lengths_B - missing).clamp_min(0) for missing in range(self.ngrams))
        assert isinstance(features_B, Tensor)
        return embedded_BTE * (lengths_B.double() / features_B).to(embedded_BTE.dtype)[:, None, None]
