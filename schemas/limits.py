"""Bounds that contracts and options share. Importable without pyarrow."""

MAX_LENGTH = 2**31 - 1
"""The most tokens of a review that a model can be told to read."""
