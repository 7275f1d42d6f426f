"""What can be chosen for scoring, known without importing torch."""

from pipeline.config.shared import DEVICES, PRECISIONS
from pipeline.errors import unknown_choice

TOKENS_PER_REVIEW = 200
"""What a batch size counts: reviews of so many tokens. 64 of them fit a core's cache with an LSTM's
activations; what goes without padding takes a multiple (`packed.py`)."""


def check_device(name: str) -> str:
    """Raises `UsageError` when there is no device of that name; gives the name."""
    if name not in DEVICES:
        raise unknown_choice("--device", name, DEVICES)
    return name


def resolve_precision(name: str) -> str:
    """`fp32` or `bf16`; `auto` is fp32, for then a review's score does not depend on its batch-mates (to 1e-6).

    Raises:
        UsageError: no such precision.
    """
    if name not in PRECISIONS:
        raise unknown_choice("--precision", name, PRECISIONS)
    return "fp32" if name == "auto" else name
