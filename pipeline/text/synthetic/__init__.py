"""A synthetic corpus of made-up words, deterministic to the byte: for the demo, tests and benchmarks.

`words` has the word lists, `reviews` writes one review, `corpus` arranges reviews like aclImdb.
"""
