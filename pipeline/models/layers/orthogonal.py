"""Recurrence matrices that keep norms: a unitary one (Arjovsky 2015) and an orthogonal one made of rotations (Jing 2016).

Each is multiplied out once a forward pass, by applying its factors to the identity, so that a step of the recurrence is
one product of real matrices. That is done in float64: rounding must not add up over a thousand steps. N features.
"""

import math

import torch
from torch import Tensor, nn

SMALLEST_MODULUS = 1e-5


def modrelu(values_B2N: Tensor, bias_N: Tensor) -> Tensor:
    """modReLU of complex numbers given as (real, imaginary) pairs: (|z| + b) z/|z| where |z| + b > 0, else 0. (B, 2, N)

    Moduli below 1e-5 count as 1e-5, which keeps the gradient finite at 0. Source: Arjovsky et al. 2015, equation 8.
    """
    real_BN, imaginary_BN = values_B2N.unbind(1)
    # Not linalg.vector_norm: its kernel for this layout took half of the training step.
    modulus_BN = torch.addcmul(real_BN.square(), imaginary_BN, imaginary_BN).clamp_min(SMALLEST_MODULUS**2).sqrt()
    return values_B2N * (torch.relu(modulus_BN + bias_N) / modulus_BN).unsqueeze(1)


def real_modrelu(values_BN: Tensor, bias_N: Tensor) -> Tensor:
    """modReLU of real numbers: sign(z) relu(|z| + b). (B, N)"""
    return torch.sign(values_BN) * torch.relu(values_BN.abs() + bias_N)


class UnitaryMatrix(nn.Module):
    """W = D₃ R₂ F⁻¹ D₂ Π R₁ F D₁: diagonal phases D, reflections R = I − 2vv*/‖v‖², Fourier transform F, permutation Π.

    7N real parameters; W*W = I whatever their values. Source: Arjovsky et al. 2015, equation 6.
    """

    permutation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.phases = nn.Parameter(torch.empty(3, features).uniform_(-math.pi, math.pi))
        self.reflections = nn.Parameter(torch.empty(2, 2, features).uniform_(-1, 1))
        """v₁ and v₂, each as real and imaginary part."""
        self.register_buffer("permutation", torch.randperm(features))

    def transposed(self) -> Tensor:
        """Wᵀ, complex128 (N, N): row k is W e_k."""
        phase = torch.polar(torch.ones_like(self.phases, dtype=torch.float64), self.phases.double())
        vectors = torch.complex(self.reflections[:, 0].double(), self.reflections[:, 1].double())
        rows = torch.diag(phase[0])
        rows = _reflect(torch.fft.fft(rows, norm="ortho"), vectors[0])
        rows = torch.fft.ifft(rows.index_select(1, self.permutation) * phase[1], norm="ortho")
        return _reflect(rows, vectors[1]) * phase[2]

    def forward(self) -> Tensor:
        """M (2N, 2N) in the parameters' type, such that [Re h, Im h] M = [Re Wh, Im Wh] for rows h."""
        rows = self.transposed()
        upper, lower = torch.cat([rows.real, rows.imag], dim=1), torch.cat([-rows.imag, rows.real], dim=1)
        return torch.cat([upper, lower]).to(self.phases.dtype)


def _reflect(rows: Tensor, vector_N: Tensor) -> Tensor:
    """R x of each row x."""
    inner = rows @ vector_N.conj()
    return rows - torch.outer(2 * inner / vector_N.abs().square().sum(), vector_N)


class RotationMatrix(nn.Module):
    """U = G_K … G_1: each G_k turns disjoint pairs of coordinates, those 2^j apart (j = 0, 1, … in turn), by an angle each.

    log₂ N factors let every coordinate reach every other one. U is orthogonal whatever the angles.
    Source: Jing et al. 2016, "Tunable efficient unitary neural networks (EUNN)", section 4.2, the FFT-style layout.
    """

    pairs: Tensor

    def __init__(self, features: int, num_factors: int) -> None:
        super().__init__()
        self.features = features
        strides = [2**power for power in range(max(1, math.ceil(math.log2(features))))]
        pairs = [_pairs(features, strides[number % len(strides)]) for number in range(num_factors)]
        self.sizes = [pair.shape[1] for pair in pairs]
        self.register_buffer("pairs", torch.cat(pairs, dim=1), persistent=False)
        self.angles = nn.Parameter(torch.empty(sum(self.sizes)).uniform_(-math.pi, math.pi))

    def forward(self) -> Tensor:
        """Uᵀ (N, N) in the parameters' type, such that rows h become (U h)ᵀ = h Uᵀ."""
        angles = self.angles.double()
        rows = torch.eye(self.features, dtype=torch.float64, device=angles.device)
        cosines, sines = torch.split(angles.cos(), self.sizes), torch.split(angles.sin(), self.sizes)
        for (first, second), cosine, sine in zip(torch.split(self.pairs, self.sizes, dim=1), cosines, sines, strict=True):
            left, right = rows.index_select(1, first), rows.index_select(1, second)
            turned = torch.cat([left * cosine - right * sine, left * sine + right * cosine], dim=1)
            rows = rows.index_copy(1, torch.cat([first, second]), turned)
        return rows.to(self.angles.dtype)


def _pairs(features: int, stride: int) -> Tensor:
    """The coordinates i and i + stride, each in one pair at most: int64 (2, pairs)."""
    first = torch.arange(features)
    first = first[(first // stride % 2 == 0) & (first + stride < features)]
    return torch.stack([first, first + stride])
