"""The forward pass of scan classifiers without padding, for scoring on the CPU: the kernel that trains them, over the tokens
of all rows side by side.

Where the states of a one-layer model are a scan of what each word says by itself (`mingru`, `minlstm`), a and b of every
word are computed once, and a token costs one multiplication and one addition a feature.

B rows, N tokens of all rows, V words, S features of a state, C classes.
"""

from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import embedding

from pipeline.batches.ragged import Ragged
from pipeline.models.interface import Classifier, ReviewClassifier
from pipeline.models.layers import scan_kernel
from pipeline.models.layers.masking import token_mask
from pipeline.models.layers.rows import PackedRows
from pipeline.models.layers.scan import split
from pipeline.models.layers.scan_cell import ScanCell
from pipeline.models.layers.scan_classifier import ScanClassifier
from pipeline.scoring.packed import STEPS, TABLE_BYTES


class PackedScan:
    """Called as the model is, it gives the model's logits. `supports` says for which models it may be made.

    It reads the weights when it is made. Several threads may call it at once.
    """

    batch_factor = 2
    """How many times the rows of a padded batch a call should have: every token's features are kept for a moment."""

    def __init__(self, model: ReviewClassifier) -> None:
        assert isinstance(model, ScanClassifier)
        self._model = model
        self._words_VE = model.embedding.weight.detach()
        self._cells = [cast(ScanCell, cell) for cell in model.encoder.cells]
        self.table: Tensor | None = None
        """a and b of each word, (V, 2S), while they are worth it."""
        self._made: Tensor | None = None

    @staticmethod
    def supports(model: Classifier) -> bool:
        """Whether the model is what this computes: scan cells and a pooling of their states, each step as `ScanClassifier`
        takes it; and whether the kernel was compiled."""
        return (
            scan_kernel.COMPILED
            and isinstance(model, ScanClassifier)
            and model.pooling.kind != "attention"
            and all(getattr(type(model), step) is getattr(ScanClassifier, step) for step in STEPS)
        )

    def make_table(self) -> None:
        """Computes a and b of the whole vocabulary, once, where that is possible and takes at most `TABLE_BYTES`."""
        (cell, *above) = self._cells
        if self._made is not None:
            self.table = self._made
        elif not above and self._model.regions is None and 8 * len(self._words_VE) * cell.output_dim <= TABLE_BYTES:
            with torch.inference_mode():
                self.table = self._made = cell.table(self._words_VE)

    def leave_table(self) -> None:
        """Computes a and b of tokens where they stand again, until `make_table` is called; the table is kept for that."""
        self.table = None

    def _embedded(self, reviews: Ragged, lengths_B: Tensor, tokens_N: Tensor) -> Tensor:
        if self._model.regions is None:
            return embedding(tokens_N, self._words_VE)
        ids_BT = torch.from_numpy(reviews.padded()[0])
        return self._model.embed(ids_BT, lengths_B)[token_mask(lengths_B, ids_BT.shape[1])]

    def __call__(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C); see `ReviewClassifier.forward`."""
        return self.of_reviews(Ragged.of_padded(ids_BT.to(torch.int32).contiguous().numpy(), lengths_B.numpy()))

    def of_reviews(self, reviews: Ragged) -> Tensor:
        """Logits (B, C) of reviews, none of them empty."""
        tokens_N, lengths_B = torch.from_numpy(reviews.joined()), torch.from_numpy(reviews.lengths)
        packed = PackedRows(lengths_B)
        features = self._cells[-1].output_dim
        index_N: Tensor | None = None
        if self.table is not None:
            states, index_N = self.table, tokens_N
        else:
            states = self._model.encoder(self._embedded(reviews, lengths_B, tokens_N), packed)
        forward = split(self._cells[-1].direction, states[:0, :features])
        last_BS, largest_BS, total_BS = scan_kernel.pool_packed(states, index_N, packed.rows, features, forward)
        mean_BS = total_BS / lengths_B.unsqueeze(1)
        kind = self._model.pooling.kind
        pooled = {"last": [last_BS], "max": [largest_BS], "mean": [mean_BS], "max-mean": [largest_BS, mean_BS]}[kind]
        return cast(Tensor, self._model.head(torch.cat(pooled, dim=1)))
