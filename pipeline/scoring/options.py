"""What can be chosen for scoring, known without importing torch."""

TOKENS_PER_REVIEW = 200
"""The batch size counts reviews of this many tokens. 64 of them, with an LSTM's activations, fit a core's cache;
batches without padding are several times larger (`packed.py`)."""


def scoring_precision(name: str) -> str:
    """The precision that scoring asks for: `auto` is fp32, for then a review's score does not depend on its batch-mates (to
    1e-6)."""
    return "fp32" if name == "auto" else name
