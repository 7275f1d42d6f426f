"""Which tokens made the score: attention weights where the model has them, integrated gradients elsewhere.

B rows, T positions, E embedding features, C classes.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor

from pipeline.models.blend import Blend, cut_places
from pipeline.models.interface import Classifier
from pipeline.models.layers.masking import token_mask


def attribute(
    model: Classifier, ids_BT: Tensor, lengths_B: Tensor, target_B: Tensor, steps: int = 16, *, signed: bool = False
) -> Tensor:
    """How much each token says for the class `target_B` (int64): float32 (B, T), 0 at padding.

    Attention models give their weights: 0 and more, a row sums to 1, whatever the class. Other models give integrated
    gradients, which may be negative: see `integrated_gradients`. With `signed` all models give those. The model has to be
    in eval mode; it is not changed.
    """
    if isinstance(model, Blend):
        return _attribute_blend(model, ids_BT, lengths_B, target_B, steps, signed)
    with torch.no_grad():
        weights_BT = None if signed else model.attention_weights(ids_BT, lengths_B)
    if weights_BT is not None:
        return weights_BT.float()
    return integrated_gradients(model, ids_BT, lengths_B, target_B, steps)


def _attribute_blend(model: Blend, ids_BT: Tensor, lengths_B: Tensor, target_B: Tensor, steps: int, signed: bool) -> Tensor:
    """What the architecture says of the tokens that it reads, and what the n-grams add. Attention weights stay alone: they
    are shares, not parts of a logit."""
    read_BT, kept_B = model.cut(ids_BT, lengths_B)
    with torch.no_grad():
        attends = not signed and model.deep.attention_weights(read_BT, kept_B) is not None
    said_BT = attribute(model.deep, read_BT, kept_B, target_B, steps, signed=signed)
    place_BT = cut_places(lengths_B, read_BT.shape[1], model.blend.truncation)
    total_BT = torch.zeros(ids_BT.shape, device=ids_BT.device)
    # A row shorter than the cut has zeros at its padding, which add nothing wherever they land.
    total_BT.scatter_add_(1, place_BT, said_BT if attends else said_BT * model.blend.scale)
    if model.ngrams is not None and not attends:
        ngrams_BTC = model.ngrams.contributions(ids_BT, lengths_B)
        target_BT1 = target_B[:, None, None].expand(-1, ids_BT.shape[1], 1)
        total_BT += ngrams_BTC.gather(2, target_BT1).squeeze(2) * model.blend.ngram_scale
    return total_BT


def integrated_gradients(model: Classifier, ids_BT: Tensor, lengths_B: Tensor, target_B: Tensor, steps: int = 16) -> Tensor:
    """(x − x₀) · ∫₀¹ ∂logit_target(x₀ + a (x − x₀))/∂x da, summed over the features of each token: float32 (B, T).

    x: the embedded tokens; x₀: as many zeros, the embedding of `<pad>`. The integral is taken by Gauss-Legendre's rule
    with `steps` points, so a row sums to logit_target(x) − logit_target(x₀) up to the rule's error.

    Source: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks", equation 1 and proposition 1.
    """
    assert not model.training, "attributions of a model in training would see dropout"
    points, weights = _gauss_legendre(steps)
    with torch.inference_mode(False), torch.enable_grad(), without_cudnn(ids_BT.device):
        # Tensors of inference mode cannot take part in a backward pass; their copies can.
        ids_BT, lengths_B, target_B = ids_BT.clone(), lengths_B.clone(), target_B.clone()
        embedded_BTE = model.embed(ids_BT, lengths_B).detach()
        total_BTE = torch.zeros_like(embedded_BTE)
        for point, weight in zip(points, weights, strict=True):
            scaled_BTE = (embedded_BTE * point).requires_grad_()
            logits_BC = model.classify(scaled_BTE, ids_BT, lengths_B)
            target_sum = logits_BC.gather(1, target_B.unsqueeze(1)).sum()
            total_BTE += weight * torch.autograd.grad(target_sum, scaled_BTE)[0]
    mask_BT = token_mask(lengths_B, ids_BT.shape[1])
    return (total_BTE * embedded_BTE).sum(dim=-1).float() * mask_BT


_CUDNN = threading.Lock()


@contextmanager
def without_cudnn(device: torch.device) -> Iterator[None]:
    """Turns cuDNN off for the block on a GPU: it has no backward pass for recurrent layers in eval mode. The switch is the
    whole process's, so one thread at a time."""
    if device.type != "cuda":
        yield
        return
    with _CUDNN, torch.backends.cudnn.flags(enabled=False):
        yield


def _gauss_legendre(steps: int) -> tuple[list[float], list[float]]:
    """Points in (0, 1) and weights that sum to 1."""
    import numpy as np

    points, weights = np.polynomial.legendre.leggauss(steps)
    return cast("list[float]", ((points + 1) / 2).tolist()), cast("list[float]", (weights / 2).tolist())
