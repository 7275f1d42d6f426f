"""oneDNN's products with weights that were laid out beforehand, through operators that torch keeps to itself.

Inductor calls them so, but no release has to keep them. `refusal` tries them once against the public product; where it
says no, `cells.py` takes that one.

n rows, E features in, G features out.
"""

from functools import cache
from typing import cast

import torch
from torch import Tensor

OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")
TOLERANCE = 1e-5
"""How far the results of both libraries may be apart, of values around 1."""


def laid_out(weight_GE: Tensor) -> Tensor:
    """The weights in oneDNN's own layout, for the products below alone."""
    return cast(Tensor, torch.ops.mkldnn._reorder_linear_weight(weight_GE))


def linear(values_nE: Tensor, laid_out_GE: Tensor, bias_G: Tensor) -> Tensor:
    """x Wᵀ + b: (n, G)."""
    return cast(Tensor, torch.ops.mkldnn._linear_pointwise(values_nE, laid_out_GE, bias_G, "none", [], ""))


def linear_plus(values_nE: Tensor, other_nG: Tensor, laid_out_GE: Tensor) -> Tensor:
    """x Wᵀ + y: (n, G)."""
    return cast(Tensor, torch.ops.mkldnn._linear_pointwise.binary(values_nE, other_nG, laid_out_GE, None, "add"))


@cache
def refusal() -> str | None:
    """Why the operators are not used here; None where they are. They are tried once in a process."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this build of torch has no oneDNN"
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in ("AVX2", "AVX512"):
        return f"oneDNN has no products of its own for this processor ({capability})"
    missing = [name for name in OPERATORS if not hasattr(torch.ops.mkldnn, name)]
    if missing:
        return f"torch {torch.__version__} has no operator mkldnn::{missing[0]}"
    try:
        error = _error()
    except Exception as failure:  # private operators may raise anything
        return f"the operators of torch {torch.__version__} failed: {type(failure).__name__}: {failure}".splitlines()[0]
    return None if error <= TOLERANCE else f"the results of torch {torch.__version__} are {error:.1g} off"


@torch.no_grad()
def _error() -> float:
    """The largest difference between both libraries, for weights of a cell's size; a wrong shape is infinite."""
    rows, inputs, outputs = 7, 96, 128
    values_nE = torch.arange(rows * inputs, dtype=torch.float32).sin().view(rows, inputs)
    weight_GE = torch.arange(outputs * inputs, dtype=torch.float32).cos().view(outputs, inputs) / inputs
    other_nG = torch.arange(rows * outputs, dtype=torch.float32).cos().view(rows, outputs)
    bias_G = other_nG[0].contiguous()
    packed_GE = laid_out(weight_GE)
    pairs = (
        (linear(values_nE, packed_GE, bias_G), torch.addmm(bias_G, values_nE, weight_GE.t())),
        (linear_plus(values_nE, other_nG, packed_GE), torch.addmm(other_nG, values_nE, weight_GE.t())),
    )
    if any(found.shape != wanted.shape for found, wanted in pairs):
        return float("inf")
    return max(float((found - wanted).abs().max().nan_to_num(float("inf"))) for found, wanted in pairs)
