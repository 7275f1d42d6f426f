"""Choices of training that options name, known without importing torch."""

SELECTIONS = ("accuracy", "macro-f1", "loss")
"""Metrics that choose the best epoch; the lower loss decides between equals."""
TRUNCATIONS = ("head", "head-tail")
"""Which tokens of a review longer than `--max-length` are read: the first ones, or half from each end."""
