"""Minimal gated recurrent units in both directions.

    →h_t = minGRU(x_t, →h_{t−1}),   ←h_t = minGRU'(x_t, ←h_{t+1}),   s_t = [→h_t ; ←h_t]

The equations are those of `mingru.py`; the two directions share no weights, but one product makes the gates and candidates
of both. x_t: E features; each direction H; states s are (B, T, 2H). The backward one starts at the review's last token.

Source: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs all we needed?", arXiv 2410.01201, section 3.1; both
directions: Schuster & Paliwal 1997.
"""

from pipeline.models.layers.scan_classifier import ScanClassifier
from pipeline.models.mingru import MinGRUCell


class BiMinGRU(ScanClassifier, cell=MinGRUCell, bidirectional=True):
    """Minimal gated recurrent units read from both ends. Equations and shapes at the top of the file."""

    year = 2024
    paper = "Feng et al. 2024, Were RNNs all we needed?"
    summary = "minimal GRU read from both ends"
