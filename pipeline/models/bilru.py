"""Linear recurrent units in both directions.

    →s_t = LRU(u_t, →x_{t−1}),   ←s_t = LRU'(u_t, ←x_{t+1}),   s_t = [→s_t ; ←s_t]

The equations are those of `lru.py`; the two directions share no weights. u_t: E features; each direction H; states s are
(B, T, 2H). The backward one starts at the review's last token.

Source: Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences", ICML, arXiv 2303.06349, section 3;
both directions: Schuster & Paliwal 1997.
"""

from pipeline.models.layers.scan_classifier import ScanClassifier
from pipeline.models.lru import LRU, LRUCell, LRUConfig


class BiLRU(ScanClassifier, cell=LRUCell, bidirectional=True):
    """Linear recurrent units read from both ends. Equations and shapes at the top of the file."""

    Config = LRUConfig
    year = 2023
    paper = "Orvieto et al. 2023, Resurrecting recurrent neural networks for long sequences"
    summary = "linear recurrent unit read from both ends"
    cell_options = LRU.cell_options
