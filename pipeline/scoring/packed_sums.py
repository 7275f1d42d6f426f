"""The forward pass of `nbsvm` and `bag` without padding, for scoring on the CPU: sums over n-grams, see `sums.py`."""

import torch
from torch import Tensor

from pipeline.batches.ragged import Ragged
from pipeline.models.bag import Bag
from pipeline.models.interface import Classifier
from pipeline.models.nbsvm import Nbsvm
from pipeline.scoring.sums import is_sum, sums_of


class PackedSums:
    """Gives the logits of a model's reviews. `supports` says for which models it may be made.

    It reads the weights when it is made. Several threads may call it at once.
    """

    batch_factor = 4
    """See `PackedForward`; a call keeps nothing of a token."""

    def __init__(self, model: Classifier) -> None:
        tensors = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
        self._sums = sums_of(model.config, tensors)

    @staticmethod
    def supports(model: Classifier) -> bool:
        """Whether the model is what this computes."""
        return type(model) in (Bag, Nbsvm) and is_sum(model.config)

    def make_table(self) -> None:
        """Nothing is to be prepared."""

    def leave_table(self) -> None:
        """Nothing was prepared."""

    def of_reviews(self, reviews: Ragged) -> Tensor:
        """Logits (B, C) of reviews, none of them empty."""
        return torch.from_numpy(self._sums(reviews))
