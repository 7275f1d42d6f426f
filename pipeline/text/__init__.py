"""Tokenizers and the vocabulary, on whole Arrow batches."""
