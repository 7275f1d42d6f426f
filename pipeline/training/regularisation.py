"""Changes to a training batch that prevent overfitting. None of them happens in scoring.

All random numbers are torch's, which the loop seeds for each step. B rows, T positions, E embedding features.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.models.interface import Classifier
from pipeline.models.layers.masking import token_mask

PROBE = 0.01
"""The step, in mean norms of an embedded token, along which the outputs' curvature is measured."""
Divergence = Callable[[Tensor, Tensor], Tensor]
"""How far outputs (B, C) are from others, summed over the rows."""
LENGTH_STEP = 16
"""Shortened batches keep lengths that the loader also produces: oneDNN keeps kernels for every shape it sees."""


@dataclass(frozen=True, kw_only=True)
class Regularisation:
    """`adversarial`, `virtual_adversarial`: L2 norm of the perturbation, in mean norms of an embedded token; they start
    after `adversarial_warmup` epochs. The other two are probabilities."""

    word_dropout: float = 0.0
    locked_dropout: float = 0.0
    adversarial: float = 0.0
    virtual_adversarial: float = 0.0
    adversarial_warmup: float = 1.0

    @property
    def of_embedding(self) -> bool:
        """Whether the model must be wrapped, see `RegularisedClassifier`."""
        return bool(self.locked_dropout or self.perturbs)

    @property
    def perturbs(self) -> bool:
        """Whether embedded tokens are changed against the model."""
        return bool(self.adversarial or self.virtual_adversarial)


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
        self.embedded_BTE = None
        return scaled(gradient_BTE, size * mean_norm(embedded_BTE.detach(), lengths_B))

    def virtual_perturbation(
        self, size: float, ids_BT: Tensor, lengths_B: Tensor, outputs_BC: Tensor, divergence: Divergence, seed: int
    ) -> Tensor:
        """The change of the embedded tokens that changes each review's outputs most (B, T, E), without any target.

            d = ξ n u / ‖u‖₂,   g = ∇_d D(f(e), f(e + d)),   r = ε n g / ‖g‖₂

        f(e) are `outputs_BC`, computed with the random numbers of `seed`, as f(e + d) is; u: normal, ξ: `PROBE`, n as in
        `perturbation`. One power iteration: g is the Hessian of D times d, which turns d towards its first eigenvector.

        Source: Miyato, Dai & Goodfellow 2017, "Adversarial training methods for semi-supervised text classification",
        equations 6 to 8, where the embeddings are normalised instead of ε and ξ.
        """
        with torch.no_grad():
            embedded_BTE = self.model.embed(ids_BT, lengths_B).float()
            norm = mean_norm(embedded_BTE, lengths_B)
            mask_BT1 = token_mask(lengths_B, embedded_BTE.shape[1])[:, :, None]
            probe_BTE = scaled(torch.randn_like(embedded_BTE) * mask_BT1, PROBE * norm)
        probe_BTE.requires_grad_()
        torch.manual_seed(seed)
        found = divergence(self(ids_BT, lengths_B, probe_BTE).float(), outputs_BC)
        (gradient_BTE,) = torch.autograd.grad(found, probe_BTE)
        return scaled(gradient_BTE, size * norm)


def mean_norm(embedded_BTE: Tensor, lengths_B: Tensor) -> Tensor:
    """The mean L2 norm of the tokens of a batch."""
    mask_BT = token_mask(lengths_B, embedded_BTE.shape[1])
    norm: Tensor = (embedded_BTE.norm(dim=2) * mask_BT).sum() / mask_BT.sum()
    return norm


def scaled(change_BTE: Tensor, norm: Tensor) -> Tensor:
    """The change of each review with another L2 norm; no change stays none."""
    norm_B11 = change_BTE.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
    found_BTE: Tensor = change_BTE * (norm / norm_B11)
    return found_BTE


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
