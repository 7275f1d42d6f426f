"""The options that determine the training order, without NumPy. `order.py` explains them."""

from dataclasses import dataclass

from pipeline.errors import UsageError

DEFAULT_LANES = 16
FEWEST_LANES = 8
WINDOW_ROWS = 32_768
POOL_STEPS = 128
"""With 32 the padding of IMDb-like lengths is 13 %, with 128 it is 6 %, at a batch of 64."""

MAX_SEED = 2**64 - 1
"""The range of seeds that torch accepts."""


def num_lanes(batch_size: int, lanes: int = DEFAULT_LANES) -> int:
    """The largest divisor of the batch size up to `lanes`; if that is below 8, min(lanes, 8, batch_size)."""
    divisor = max(candidate for candidate in range(1, min(lanes, batch_size) + 1) if batch_size % candidate == 0)
    return divisor if divisor >= FEWEST_LANES else min(lanes, FEWEST_LANES, batch_size)


@dataclass(frozen=True, kw_only=True)
class OrderOptions:
    """What determines the order, besides rows and epoch. `batch_size` is the global batch, in rows."""

    batch_size: int
    seed: int = 0
    lanes: int = DEFAULT_LANES
    window_rows: int = WINDOW_ROWS
    pool_steps: int = POOL_STEPS

    def __post_init__(self) -> None:
        for name in ("batch_size", "lanes", "window_rows", "pool_steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected 1 or more.")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed {self.seed}: expected 0 to {MAX_SEED}.")

    @property
    def num_lanes(self) -> int:
        """L, the lanes in use."""
        return num_lanes(self.batch_size, self.lanes)
