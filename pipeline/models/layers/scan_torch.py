"""The scan in torch alone: by doubling, for GPUs and where the kernel was not compiled, and as a plain loop, the reference.

See `scan.py` for the equations and shapes. `split`: the features before it are read forward, the others backward.
"""

import torch
from torch import Tensor


def scan(decay: Tensor, values_TBH: Tensor, lengths_B: Tensor | None, split: int) -> Tensor:
    """The states (T, B, H), 0 at padding: after k of ⌈log₂ T⌉ rounds, each has taken in the 2^k positions before it."""
    mask_TB1 = _mask(values_TBH, lengths_B)
    decay, values_TBH = _masked(_wide(decay), mask_TB1), _masked(values_TBH, mask_TB1)
    forward = _doubled(decay[..., :split], values_TBH[..., :split])
    backward = _doubled(decay[..., split:].flip(0), values_TBH[..., split:].flip(0)).flip(0)
    return _masked(torch.cat([forward, backward], dim=-1), mask_TB1)


def scan_gradient(
    gradient_TBH: Tensor, decay: Tensor, states_TBH: Tensor, lengths_B: Tensor | None, split: int
) -> tuple[Tensor, Tensor]:
    """The gradients of `decay`, in its shape, and of the values (T, B, H), given that of the states."""
    mask_TB1 = _mask(states_TBH, lengths_B)
    wide, gradient_TBH = _masked(_wide(decay), mask_TB1), _masked(gradient_TBH, mask_TB1)
    forward = _gradient(gradient_TBH[..., :split], wide[..., :split], states_TBH[..., :split])
    mirrored = (tensor[..., split:].flip(0) for tensor in (gradient_TBH, wide, states_TBH))
    backward = (found.flip(0) for found in _gradient(*mirrored))
    of_decay, of_values = (_masked(torch.cat(parts, dim=-1), mask_TB1) for parts in zip(forward, backward, strict=True))
    return (of_decay.sum(dim=(0, 1)) if decay.dim() == 1 else of_decay), of_values


def loop_scan(decay: Tensor, values_TBH: Tensor, lengths_B: Tensor | None, split: int) -> Tensor:
    """The same states, position after position; autograd differentiates it."""
    positions = range(len(values_TBH))
    mask_TB1 = _mask(values_TBH, lengths_B)
    decay_TBH = decay.expand_as(values_TBH)
    parts = []
    for features, order in ((slice(split), positions), (slice(split, None), reversed(positions))):
        state_BH = torch.zeros_like(values_TBH[0, :, features]) if len(positions) else values_TBH.new_zeros(0)
        states = {}
        for t in order:
            state_BH = decay_TBH[t, :, features] * state_BH + values_TBH[t, :, features]
            if mask_TB1 is not None:
                state_BH = torch.where(mask_TB1[t], state_BH, 0)
            states[t] = state_BH
        parts.append(torch.stack([states[t] for t in positions]) if states else values_TBH[..., features])
    return torch.cat(parts, dim=-1)


def without_padding(values_TBH: Tensor, lengths_B: Tensor | None) -> Tensor:
    """Zeros at padding."""
    return _masked(values_TBH, _mask(values_TBH, lengths_B))


def _doubled(decay: Tensor, values_TBH: Tensor) -> Tensor:
    """The forward scan. `decay` has T positions, or one that all share."""
    reach = 1
    while reach < len(values_TBH):
        late = values_TBH[reach:] + (decay if len(decay) == 1 else decay[reach:]) * values_TBH[:-reach]
        values_TBH = torch.cat([values_TBH[:reach], late])
        if len(decay) == 1:
            decay = decay * decay
        elif 2 * reach < len(values_TBH):
            decay = torch.cat([decay[:reach], decay[reach:] * decay[:-reach]])
        reach *= 2
    return values_TBH


def _gradient(gradient_TBH: Tensor, decay: Tensor, states_TBH: Tensor) -> tuple[Tensor, Tensor]:
    """Of the forward scan: r_t = g_t + conj(a_{t+1}) ⊙ r_{t+1} is the values' gradient, conj(h_{t−1}) ⊙ r_t the decay's."""
    later = decay.conj()
    if len(decay) == len(gradient_TBH):
        later = torch.cat([later[1:], torch.zeros_like(later[:1])])
    of_values = _doubled(later.flip(0), gradient_TBH.flip(0)).flip(0)
    before = torch.cat([torch.zeros_like(states_TBH[:1]), states_TBH[:-1]])
    return of_values * before.conj(), of_values


def _wide(decay: Tensor) -> Tensor:
    return decay.view(1, 1, -1) if decay.dim() == 1 else decay


def _mask(values_TBH: Tensor, lengths_B: Tensor | None) -> Tensor | None:
    if lengths_B is None:
        return None
    position_T1 = torch.arange(len(values_TBH), device=values_TBH.device).unsqueeze(1)
    return (position_T1 < lengths_B).unsqueeze(-1)


def _masked(values: Tensor, mask_TB1: Tensor | None) -> Tensor:
    """Zeros at padding; a decay that all positions share stays as it is."""
    return values if mask_TB1 is None or values.shape[:2] != mask_TB1.shape[:2] else values.masked_fill(~mask_TB1, 0)
