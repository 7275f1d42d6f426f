"""The scan: an elementwise linear recurrence over all positions at once.

    h_t = a_t ⊙ h_{t−1} + b_t   (forward),      h_t = a_t ⊙ h_{t+1} + b_t   (backward),      h = 0 outside the row

a, b: real or complex; the backward direction starts at each row's own last token, never in its padding. On the CPU a
compiled kernel (`_scan.c`) does one pass over memory, and one for the gradient, on the threads that torch has. Elsewhere,
and where it was not compiled, torch doubles the reach of every state ⌈log₂ T⌉ times (`scan_torch.py`). Gradients are
scans themselves, in the opposite direction; they cannot be differentiated again.

T positions, B rows, H features; all tensors are time-major. 16-bit numbers are computed in float32 and stay so.

Source: Blelloch 1990, "Prefix sums and their applications", section 1.4; as recurrent layers: Martin & Cundy 2018,
"Parallelizing linear recurrent neural nets over sequence length", ICLR.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.models.layers import scan_kernel, scan_torch

Direction = Literal["forward", "backward", "both"]
"""`both`: the first half of the features is read forward, the second backward."""


def scan(decay: Tensor, values_TBH: Tensor, lengths_B: Tensor | None = None, direction: Direction = "forward") -> Tensor:
    """The states h (T, B, H), 0 at padding.

    `decay` is a: (T, B, H), or (H,) where all positions share it. `values_TBH` is b. `lengths_B`: int64, the tokens of each
    row, 0 or more; all rows have T without it, and those that claim more.

    Raises:
        ValueError: shapes that do not belong together, or `both` with an odd number of features.
    """
    kind = torch.promote_types(decay.dtype, values_TBH.dtype)
    decay, values_TBH = decay.to(_computed(kind)), values_TBH.to(_computed(kind))
    if decay.shape not in (values_TBH.shape, values_TBH.shape[2:]):
        raise ValueError(f"scan: a decay of shape {tuple(decay.shape)} for values of shape {tuple(values_TBH.shape)}.")
    lengths_B = _checked(lengths_B, decay, values_TBH)
    states_TBH: Tensor = _Scan.apply(decay, values_TBH, lengths_B, split(direction, values_TBH))  # type: ignore[no-untyped-call]
    return states_TBH


def gated_average(
    gate_TBH: Tensor, values_TBH: Tensor, lengths_B: Tensor | None = None, direction: Direction = "forward"
) -> Tensor:
    """The scan with a = σ(gate) and b = (1 − a) ⊙ values, real: a running average whose gate says how much it keeps.

    The kernel computes the gate on the way, so nothing but the states is written to memory.

    Raises:
        ValueError: see `scan`.
    """
    kind = _computed(torch.promote_types(gate_TBH.dtype, values_TBH.dtype))
    if gate_TBH.shape != values_TBH.shape or kind.is_complex:
        raise ValueError(f"gated_average: real tensors of one shape, not {gate_TBH.shape} and {values_TBH.shape}, {kind}.")
    gate_TBH, values_TBH = gate_TBH.to(kind), values_TBH.to(kind)
    lengths_B = _checked(lengths_B, gate_TBH, values_TBH)
    if not scan_kernel.takes(values_TBH):
        gate_TBH, values_TBH = (scan_torch.without_padding(tensor, lengths_B) for tensor in (gate_TBH, values_TBH))
        return scan(torch.sigmoid(gate_TBH), torch.sigmoid(-gate_TBH) * values_TBH, lengths_B, direction)
    parts = split(direction, values_TBH)
    states_TBH: Tensor = _GatedAverage.apply(gate_TBH, values_TBH, lengths_B, parts)  # type: ignore[no-untyped-call]
    return states_TBH


def joint_gated_average(both_TBG: Tensor, lengths_B: Tensor | None = None, direction: Direction = "forward") -> Tensor:
    """`gated_average` of gates and values side by side, as one product makes them: their gradient then needs no copy.

    Raises:
        ValueError: see `scan`.
    """
    features = both_TBG.shape[-1] // 2
    gate_TBH, values_TBH = both_TBG[..., :features], both_TBG[..., features:]
    both_TBG = both_TBG.to(_computed(both_TBG.dtype))
    if not scan_kernel.takes(both_TBG) or both_TBG.is_complex() or gate_TBH.shape != values_TBH.shape:
        return gated_average(gate_TBH, values_TBH, lengths_B, direction)
    lengths_B = _checked(lengths_B, both_TBG, both_TBG)
    parts = split(direction, values_TBH)
    states_TBH: Tensor = _JointGatedAverage.apply(both_TBG, lengths_B, parts)  # type: ignore[no-untyped-call]
    return states_TBH


def split(direction: Direction, values: Tensor) -> int:
    """How many of the features (the last dimension) are read forward; the others are read backward."""
    features = values.shape[-1]
    if direction == "both" and features % 2:
        raise ValueError(f"scan: {features} features cannot be split into two directions.")
    return {"forward": features, "backward": 0, "both": features // 2}[direction]


def _checked(lengths_B: Tensor | None, first: Tensor, values_TBH: Tensor) -> Tensor | None:
    """The lengths as int64 beside the values. The kernel trusts what it is given."""
    if first.device != values_TBH.device:
        raise ValueError(f"scan: tensors on {first.device} and on {values_TBH.device}.")
    if lengths_B is None:
        return None
    if lengths_B.shape != values_TBH.shape[1:2]:
        raise ValueError(f"scan: lengths of shape {tuple(lengths_B.shape)} for values of shape {tuple(values_TBH.shape)}.")
    return lengths_B.to(values_TBH.device, torch.int64).contiguous()


def _computed(kind: torch.dtype) -> torch.dtype:
    return torch.float32 if kind in (torch.bfloat16, torch.float16) else kind


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, decay: Tensor, values_TBH: Tensor, lengths_B: Tensor | None, split: int) -> Tensor:
        library = scan_kernel if scan_kernel.takes(values_TBH) else scan_torch
        states_TBH: Tensor = library.scan(decay, values_TBH, lengths_B, split)
        context.save_for_backward(decay, states_TBH, lengths_B)
        context.split, context.library = split, library
        return states_TBH

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient_TBH: Tensor) -> tuple[Tensor, Tensor, None, None]:
        decay, states_TBH, lengths_B = context.saved_tensors
        return *context.library.scan_gradient(gradient_TBH, decay, states_TBH, lengths_B, context.split), None, None


class _GatedAverage(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, gate_TBH: Tensor, values_TBH: Tensor, lengths_B: Tensor | None, split: int) -> Tensor:
        states_TBH = scan_kernel.gated_average(gate_TBH, values_TBH, lengths_B, split)
        context.save_for_backward(gate_TBH, values_TBH, states_TBH, lengths_B)
        context.split = split
        return states_TBH

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient_TBH: Tensor) -> tuple[Tensor, Tensor, None, None]:
        gate_TBH, values_TBH, states_TBH, lengths_B = context.saved_tensors
        both_TBG = scan_kernel.gated_average_gradient(
            gradient_TBH, gate_TBH, values_TBH, states_TBH, lengths_B, context.split
        )
        of_gate, of_values = both_TBG.chunk(2, dim=-1)
        return of_gate, of_values, None, None


class _JointGatedAverage(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, both_TBG: Tensor, lengths_B: Tensor | None, split: int) -> Tensor:
        gate_TBH, values_TBH = both_TBG.chunk(2, dim=-1)
        states_TBH = scan_kernel.gated_average(gate_TBH, values_TBH, lengths_B, split)
        context.save_for_backward(both_TBG, states_TBH, lengths_B)
        context.split = split
        return states_TBH

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient_TBH: Tensor) -> tuple[Tensor, None, None]:
        both_TBG, states_TBH, lengths_B = context.saved_tensors
        gate_TBH, values_TBH = both_TBG.chunk(2, dim=-1)
        found = scan_kernel.gated_average_gradient(gradient_TBH, gate_TBH, values_TBH, states_TBH, lengths_B, context.split)
        return found, None, None
