"""Learning rate schedules: pure functions of the step, without state."""

import math


def lr_factor(schedule: str, step: int, total_steps: int, warmup_steps: int) -> float:
    """The factor of the learning rate at a step (from 0).

    It rises linearly during warm-up, then stays (constant), or falls to 0 at `total_steps`, linearly or as half a cosine.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if schedule == "linear":
        return 1.0 - done
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    assert schedule == "constant", schedule
    return 1.0
