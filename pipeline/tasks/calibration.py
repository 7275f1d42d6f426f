"""How reliable a model's probabilities are, and the scales that calibrate them. Plain NumPy, pure functions.

    logits = Σ_j s_j z_j,   s = argmin Σ_n w(y_n) · cross-entropy(logits_n, q(y_n)) + λ Σ_j (s_j − s⁰_j)²

z_j: the logits of part j of a model, s_j ≥ 0. With one part, 1/s is the temperature (Guo et al. 2017, "On calibration of
modern neural networks", section 4.2); with several, it is stacking (Wolpert 1992). q is Platt's target (1999, "Probabilistic
outputs for support vector machines", equation 8): (N_c + 1) / (N_c + 2) for the label c of N_c rows; the other C − 1
classes share the rest. So a few correct rows do not make a model that is sure of everything, and many classes do not make
one that is sure of nothing.
The problem is convex, and the last term keeps s finite. N rows, C classes, J parts.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ECE_BINS = 15
MAX_STEPS = 50
PRIOR = 0.01
"""λ: a hundred rows outweigh it by far, and rows that are all right still end at a scale of some tens."""


def fit_scales(
    logits_JNC: Sequence[Doubles],
    labels_N: Ints,
    start_J: Sequence[float],
    class_weights_C: Sequence[float] | None = None,
) -> list[float]:
    """The scales s of each part, `start_J` being s⁰; Newton's method with step halving."""
    z_JNC = np.stack([np.asarray(logits_NC, np.float64) for logits_NC in logits_JNC])
    weight_N = np.ones(len(labels_N)) if class_weights_C is None else np.asarray(class_weights_C, np.float64)[labels_N]
    target_NC = platt_targets(labels_N, z_JNC.shape[2])
    active = list(range(len(z_JNC)))
    scales_J = np.asarray(start_J, np.float64)
    while True:
        found = _newton(z_JNC[active], target_NC, scales_J[active], weight_N)
        negative = [place for place, scale in zip(active, found, strict=True) if scale < 0]
        if not negative:
            result = np.zeros(len(z_JNC))
            result[active] = found
            return [float(scale) for scale in result]
        # A part with a negative scale is dropped; the others are fitted without it.
        active = [place for place in active if place not in negative]
        if not active:
            return [0.0] * len(z_JNC)


def platt_targets(labels_N: Ints, num_classes: int) -> Doubles:
    """The target probabilities (N, C) of the fit: closer to 1 the more rows a class has."""
    count_N1 = np.bincount(labels_N, minlength=num_classes)[labels_N][:, None].astype(np.float64)
    target_NC = np.repeat(1 / ((count_N1 + 2) * (num_classes - 1)), num_classes, axis=1)
    target_NC[np.arange(len(labels_N)), labels_N] = ((count_N1 + 1) / (count_N1 + 2))[:, 0]
    return target_NC


def expected_calibration_error(probability_NC: npt.NDArray[np.floating], labels_N: Ints) -> float:
    """Σ_b |rows of b| / N · |accuracy of b − mean probability of b|, over `ECE_BINS` equal bins of the winner's probability.

    Source: Naeini et al. 2015; Guo et al. 2017, equation 3.
    """
    certainty_N = probability_NC.max(axis=1).astype(np.float64)
    right_N = (probability_NC.argmax(axis=1) == labels_N).astype(np.float64)
    bin_N = np.minimum((certainty_N * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap_B = np.bincount(bin_N, right_N - certainty_N, minlength=ECE_BINS)
    return float(np.abs(gap_B).sum() / max(len(labels_N), 1))


def softmax(logits_NC: npt.NDArray[np.floating]) -> Doubles:
    """Probabilities, float64."""
    raised = np.exp(np.asarray(logits_NC, np.float64) - logits_NC.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def cross_entropy(logits_NC: npt.NDArray[np.floating], labels_N: Ints) -> Doubles:
    """−log p of the label: (N,)."""
    top_N1 = logits_NC.max(axis=1, keepdims=True)
    log_sum_N = np.log(np.exp(logits_NC - top_N1).sum(axis=1)) + top_N1[:, 0]
    return np.asarray(log_sum_N - logits_NC[np.arange(len(labels_N)), labels_N])


def _newton(z_JNC: Doubles, target_NC: Doubles, start_J: Doubles, weight_N: Doubles) -> Doubles:
    scales_J = start_J.copy()
    wanted_JN = (z_JNC * target_NC).sum(axis=2)
    value = _objective(z_JNC, target_NC, scales_J, start_J, weight_N)
    for _ in range(MAX_STEPS):
        p_NC = softmax(np.tensordot(scales_J, z_JNC, axes=1))
        mean_JN = (p_NC * z_JNC).sum(axis=2)
        gradient_J = ((mean_JN - wanted_JN) * weight_N).sum(axis=1) + 2 * PRIOR * (scales_J - start_J)
        second_JJ = np.einsum("n,nc,jnc,knc->jk", weight_N, p_NC, z_JNC, z_JNC, optimize=True)
        hessian_JJ = second_JJ - (mean_JN * weight_N) @ mean_JN.T + 2 * PRIOR * np.eye(len(scales_J))
        direction_J = -np.linalg.solve(hessian_JJ, gradient_J)
        step = 1.0
        while step > 1e-6:
            moved = _objective(z_JNC, target_NC, scales_J + step * direction_J, start_J, weight_N)
            if moved <= value:
                break
            step /= 2
        else:
            break
        scales_J = scales_J + step * direction_J
        if value - moved < 1e-12 * max(1.0, abs(value)):
            break
        value = moved
    return scales_J


def _objective(z_JNC: Doubles, target_NC: Doubles, scales_J: Doubles, start_J: Doubles, weight_N: Doubles) -> float:
    logits_NC = np.tensordot(scales_J, z_JNC, axes=1)
    top_N1 = logits_NC.max(axis=1, keepdims=True)
    log_p_NC = logits_NC - top_N1 - np.log(np.exp(logits_NC - top_N1).sum(axis=1, keepdims=True))
    loss_N = -(target_NC * log_p_NC).sum(axis=1)
    return float((loss_N * weight_N).sum() + PRIOR * ((scales_J - start_J) ** 2).sum())
