"""The tables of region features and one pass over reviews; `regions.py` has the equations.

A block of `BLOCK` positions of a review is one step. V tokens, R features.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

try:
    from pipeline.training._regions import learn as _compiled

    COMPILED = True
except ImportError:
    COMPILED = False

BLOCK, DRAWN_PER_BLOCK, LANES = 32, 64, 16
"""Positions of a step; tokens that it draws; tables have a multiple of `LANES` features."""
CONTEXT = 5
"""Tokens predicted on each side of a region."""
NEGATIVES = 5.0
"""Drawn tokens that a predicted one weighs as much as."""
STEPS_PER_UNIT, STEEPEST = 256, 8
"""σ is looked up."""
SMALL = np.float32(1e-8)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rates:
    """The learning rate of the first review and of the one after the last."""

    first: float
    last: float


@dataclass(frozen=True, kw_only=True)
class RegionTables:
    """E (V, R), b (R,), O (V, R), the sums of their squared gradients, a value for each row, and the tokens to draw from.

    Tokens below `frequent` are not predicted; `half` and `context`: see `regions.py`.
    """

    weight: Floats
    bias: Floats
    out: Floats
    of_weight: Floats
    of_bias: Floats
    of_out: Floats
    drawn: npt.NDArray[np.int32]
    frequent: int
    half: int
    context: int
    sigmoid: Floats = field(
        default_factory=lambda: (
            1 / (1 + np.exp(STEEPEST - np.arange(2 * STEEPEST * STEPS_PER_UNIT + 1, dtype=np.float32) / STEPS_PER_UNIT))
        ).astype(np.float32)
    )

    @classmethod
    def starting_at(
        cls, weight_VR: Floats, drawn: npt.NDArray[np.int32], *, frequent: int, half: int, context: int
    ) -> "RegionTables":
        """Tables before the first step. `drawn`: a power of two of tokens."""
        rows, features = weight_VR.shape
        assert features % LANES == 0, features
        assert len(drawn) & (len(drawn) - 1) == 0, len(drawn)
        return cls(
            weight=np.ascontiguousarray(weight_VR, dtype=np.float32),
            bias=np.zeros(features, np.float32),
            out=np.zeros((rows, features), np.float32),
            of_weight=np.zeros(rows, np.float32),
            of_bias=np.zeros(1, np.float32),
            of_out=np.zeros(rows, np.float32),
            drawn=np.ascontiguousarray(drawn, dtype=np.int32),
            frequent=frequent,
            half=half,
            context=context,
        )


def learn(
    tables: RegionTables, ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], seed: int, rates: Rates
) -> tuple[float, int]:
    """One pass over reviews, whose tokens are `ids[offsets[i]:offsets[i + 1]]`; updates the tables.

    Returns:
        the sum of −log p over predicted tokens, and their number.
    """
    return (learn_compiled if COMPILED else learn_numpy)(tables, ids, offsets, seed, rates)


def learn_compiled(
    tables: RegionTables, ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], seed: int, rates: Rates
) -> tuple[float, int]:
    """`learn`, compiled."""
    ids, offsets = np.ascontiguousarray(ids, np.int32), np.ascontiguousarray(offsets, np.int64)
    return _compiled(
        ids.ctypes.data,
        offsets.ctypes.data,
        len(offsets) - 1,
        tables.weight.shape[1],
        tables.half,
        tables.context,
        tables.frequent,
        tables.weight.ctypes.data,
        tables.bias.ctypes.data,
        tables.out.ctypes.data,
        tables.of_weight.ctypes.data,
        tables.of_bias.ctypes.data,
        tables.of_out.ctypes.data,
        tables.drawn.ctypes.data,
        len(tables.drawn),
        seed,
        rates.first,
        rates.last,
        NEGATIVES,
    )


def learn_numpy(
    tables: RegionTables, ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], seed: int, rates: Rates
) -> tuple[float, int]:
    """`learn`, in NumPy."""
    random, cost, pairs = _Random(seed), 0.0, 0
    count = len(offsets) - 1
    for review in range(count):
        tokens = ids[offsets[review] : offsets[review + 1]]
        rate = np.float32(rates.first + (rates.last - rates.first) * review / count)
        for begin in range(0, len(tokens), BLOCK):
            found = _step(tables, tokens, begin, random, rate)
            cost, pairs = cost + found[0], pairs + found[1]
    return cost, pairs


def _step(
    tables: RegionTables, tokens: npt.NDArray[np.int32], begin: int, random: "_Random", rate: np.float32
) -> tuple[float, int]:
    half, reach = tables.half, tables.half + tables.context
    rows = min(BLOCK, len(tokens) - begin)
    # I inputs of the block's regions, N positions that are near, A of them and the drawn tokens, P positions of the block.
    place_I = np.arange(begin - half, begin + rows + half)
    inside_I = (place_I >= 0) & (place_I < len(tokens))
    input_I = tokens[place_I.clip(0, len(tokens) - 1)]
    place_N = np.arange(begin - reach, begin + rows + reach)
    near_N = tokens[place_N.clip(0, len(tokens) - 1)]
    kept_N = (place_N >= 0) & (place_N < len(tokens)) & (near_N >= tables.frequent)
    drawn = tables.drawn[random.draw(DRAWN_PER_BLOCK) & np.uint64(len(tables.drawn) - 1)]
    target_A = np.concatenate([np.where(kept_N, near_N, -1), drawn])

    inputs_IR = tables.weight[input_I] * inside_I[:, None]
    total_PR = np.sum([inputs_IR[shift : shift + rows] for shift in range(2 * half + 1)], axis=0) + tables.bias
    hidden_PR = np.maximum(total_PR, np.float32(0))
    outputs_AR = tables.out[target_A.clip(0)] * (target_A >= 0)[:, None]
    sigmoid_PA = tables.sigmoid[_steps(hidden_PR @ outputs_AR.T)]
    distance_PA = np.arange(len(target_A)) - np.arange(rows)[:, None] - reach
    is_near_PA = (abs(distance_PA) > half) & (abs(distance_PA) <= reach) & (target_A >= 0)
    is_near_PA[:, len(near_N) :] = False
    neighbours_P1 = is_near_PA.sum(axis=1, keepdims=True).astype(np.float32)
    slope_PA = np.where(is_near_PA, sigmoid_PA - 1, np.float32(0))
    slope_PA[:, len(near_N) :] = sigmoid_PA[:, len(near_N) :] * (neighbours_P1 * np.float32(NEGATIVES / DRAWN_PER_BLOCK))

    of_hidden_PR = (slope_PA @ outputs_AR) * (hidden_PR > 0)
    of_outputs_AR = slope_PA.T @ hidden_PR
    for row in np.flatnonzero(target_A >= 0):
        _update(tables.out, tables.of_out, target_A[row], of_outputs_AR[row], rate)
    _update(tables.bias[None], tables.of_bias, 0, of_hidden_PR.sum(axis=0), rate)
    padded = np.pad(of_hidden_PR, ((2 * half, 2 * half), (0, 0)))
    of_inputs_IR = np.sum([padded[shift : shift + len(place_I)] for shift in range(2 * half + 1)], axis=0)
    for row in np.flatnonzero(inside_I):
        _update(tables.weight, tables.of_weight, input_I[row], of_inputs_IR[row], rate)
    return float(-np.log(sigmoid_PA[is_near_PA]).sum(dtype=np.float64)), int(is_near_PA.sum())


def _steps(values: Floats) -> npt.NDArray[np.int64]:
    """Where σ of a value is looked up."""
    return ((values.clip(-STEEPEST, STEEPEST) + STEEPEST) * STEPS_PER_UNIT).astype(np.int64)


def _update(table: Floats, sums: Floats, row: int, gradient: Floats, rate: np.float32) -> None:
    squares = gradient @ gradient
    if squares:
        sums[row] += squares / np.float32(len(gradient))
        table[row] -= rate / np.sqrt(sums[row] + SMALL) * gradient


class _Random:
    """xorshift64*; the upper halves of its numbers."""

    def __init__(self, seed: int) -> None:
        self._state = seed | 1

    def draw(self, count: int) -> npt.NDArray[np.uint64]:
        found = np.empty(count, np.uint64)
        for place in range(count):
            x = self._state
            x ^= (x << 13) & 0xFFFFFFFFFFFFFFFF
            x ^= x >> 7
            x ^= (x << 17) & 0xFFFFFFFFFFFFFFFF
            self._state = x
            found[place] = ((x * 0x2545F4914F6CDD1D) & 0xFFFFFFFFFFFFFFFF) >> 32
        return found
