"""Ragged rows of token ids and the padded batches made of them, the same for training and scoring. Plain NumPy."""
