"""A synthetic corpus of our own words, deterministic to the byte: for the demo, the tests and the benchmarks.

`words` holds the word lists, `reviews` writes one review, `corpus` lays reviews out as aclImdb does.
"""
