"""Changes to a training batch that prevent overfitting. None of them happens in scoring.

All random numbers are torch's, which the loop seeds for each step. B rows, T positions, E embedding features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.models.interface import Classifier
from pipeline.models.layers.masking import token_mask

LENGTH_STEP = 16
"""Shortened batches keep lengths that the loader also produces: oneDNN keeps kernels for every shape it sees."""


@dataclass(frozen=True, kw_only=True)
class Regularisation:
    """`adversarial`: L2 norm of the perturbation, in mean norms of an embedded token; it starts after
    `adversarial_warmup` epochs. The other two are probabilities."""

    word_dropout: float = 0.0
    locked_dropout: float = 0.0
    adversarial: float = 0.0
    adversarial_warmup: float = 1.0

    @property
    def of_embedding(self) -> bool:
        """Whether the model must be wrapped, see `RegularisedClassifier`."""
        return bool(self.locked_dropout or self.adversarial)


class RegularisedClassifier(nn.Module):
    """A classifier in training, with locked dropout and a perturbation of the embedded tokens.

    After a call with `keep`, `embedded_BTE` has the embedded tokens, with their gradient after the backward pass.

    Source: locked dropout: Gal & Ghahramani 2016, "A theoretically grounded application of dropout in recurrent neural
    networks", section 4; Merity et al. 2018 gave the name.
    """

    def __init__(self, model: Classifier, locked_dropout: float) -> None:
        super().__init__()
        self.model, self.locked_dropout = model, locked_dropout
        self.embedded_BTE: Tensor | None = None

    def forward(
        self, ids_BT: Tensor, lengths_B: Tensor, perturbation_BTE: Tensor | None = None, *, keep: bool = False
    ) -> Tensor:
        """Logits (B, C)."""
        embedded_BTE = self.model.embed(ids_BT, lengths_B)
        if self.locked_dropout:
            kept_B1E = torch.rand(len(embedded_BTE), 1, embedded_BTE.shape[2], device=ids_BT.device) >= self.locked_dropout
            embedded_BTE = embedded_BTE * (kept_B1E.to(embedded_BTE.dtype) / (1.0 - self.locked_dropout))
        if keep:
            embedded_BTE.retain_grad()
            self.embedded_BTE = embedded_BTE
        if perturbation_BTE is not None:
            embedded_BTE = embedded_BTE + perturbation_BTE
        return self.model.classify(embedded_BTE, ids_BT, lengths_B)

    def perturbation(self, size: float, lengths_B: Tensor) -> Tensor:
        """The change of the embedded tokens that increases each review's loss most (B, T, E), given the loss's gradient.

        r = ε · n · g / ‖g‖₂, for each review; g: its gradient, n: the mean norm of the batch's embedded tokens, so that ε
        means the same however large embeddings grow.

        Source: Miyato, Dai & Goodfellow 2017, "Adversarial training methods for semi-supervised text classification",
        equation 5, where the embeddings are normalised instead.
        """
        embedded_BTE = self.embedded_BTE
        assert embedded_BTE is not None and embedded_BTE.grad is not None, "perturbation before a kept backward pass"
        gradient_BTE = embedded_BTE.grad.detach()
        mask_BT = token_mask(lengths_B, embedded_BTE.shape[1])
        norm = (embedded_BTE.detach().norm(dim=2) * mask_BT).sum() / mask_BT.sum()
        norm_B11 = gradient_BTE.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
        self.embedded_BTE = None
        change_BTE: Tensor = gradient_BTE * (size * norm / norm_B11)
        return change_BTE


def drop_words(ids_BT: Tensor, lengths_B: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Drops each token with probability `share` and closes the gaps. A review keeps at least one token.

    Source: Iyyer et al. 2015, "Deep unordered composition rivals syntactic methods for text classification", section 2.4.
    """
    mask_BT = token_mask(lengths_B, ids_BT.shape[1])
    kept_BT = (torch.rand(ids_BT.shape, device=ids_BT.device) >= share) & mask_BT
    kept_BT[:, 0] |= ~kept_BT.any(dim=1)
    order_BT = torch.argsort((~kept_BT).to(torch.int8), dim=1, stable=True)
    left_B = kept_BT.sum(dim=1)
    positions = min(-(-int(left_B.max()) // LENGTH_STEP) * LENGTH_STEP, ids_BT.shape[1])
    closed_BT = ids_BT.gather(1, order_BT[:, :positions])
    return closed_BT * token_mask(left_B, positions), left_B
