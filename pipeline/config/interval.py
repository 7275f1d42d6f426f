"""How often checkpoints are written."""

import math
from dataclasses import dataclass

from pipeline.errors import UsageError


@dataclass(frozen=True)
class Interval:
    """How often checkpoints are written, in steps or in seconds; 0 means never."""

    steps: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Reads "200" (steps), "90s", "5m" or "1h".

        Raises:
            UsageError: anything else.
        """
        units = {"s": 1.0, "m": 60.0, "h": 3600.0}
        number, unit = (text[:-1], text[-1:]) if text[-1:] in units else (text, "")
        try:
            value = float(number) if unit else int(number)
        except ValueError:
            value = -1
        if not 0 <= value < math.inf:
            raise UsageError(
                f"--checkpoint-every {text!r}: expected a number of steps such as 200, or a time such as 60s, 5m or 1h; "
                "0 for never."
            )
        return cls(seconds=value * units[unit]) if unit else cls(steps=int(value))
