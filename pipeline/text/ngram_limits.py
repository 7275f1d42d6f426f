"""Limits of n-grams; importable without NumPy."""

MAX_NGRAMS = 16
MAX_BITS = 31
