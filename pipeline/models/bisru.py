"""Simple recurrent units in both directions.

    →h_t = SRU(x_t, →c_{t−1}),   ←h_t = SRU'(x_t, ←c_{t+1}),   s_t = [→h_t ; ←h_t]

The equations are those of `sru.py`; the two directions share no weights. x_t: E features; each direction H; states s are
(B, T, 2H). The backward one starts at the review's last token.

Source: Lei, Zhang & Artzi 2017, "Training RNNs as fast as CNNs", arXiv 1709.02755, section 2.1; both directions: Schuster &
Paliwal 1997.
"""

from pipeline.models.layers.scan_classifier import ScanClassifier
from pipeline.models.sru import SRUCell


class BiSRU(ScanClassifier, cell=SRUCell, bidirectional=True):
    """Simple recurrent units read from both ends. Equations and shapes at the top of the file."""

    year = 2017
    paper = "Lei, Zhang & Artzi 2017, Training RNNs as fast as CNNs"
    summary = "simple recurrent unit read from both ends"
