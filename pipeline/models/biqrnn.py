"""Quasi-recurrent network in both directions.

    →h_t = QRNN(x_t, x_{t−1}, …, →c_{t−1}),   ←h_t = QRNN'(x_t, x_{t+1}, …, ←c_{t+1}),   s_t = [→h_t ; ←h_t]

The equations are those of `qrnn.py`; the two directions share no weights, and the backward one's filters see the tokens
after. x_t: E features; each direction H; states s are (B, T, 2H). The backward one starts at the review's last token.

Source: Bradbury, Merity, Xiong & Socher 2016, "Quasi-recurrent neural networks", arXiv 1611.01576, equations 1 to 4; both
directions: Schuster & Paliwal 1997.
"""

from pipeline.models.layers.scan_classifier import ScanClassifier
from pipeline.models.qrnn import QRNN, QRNNCell, QRNNConfig


class BiQRNN(ScanClassifier, cell=QRNNCell, bidirectional=True):
    """Quasi-recurrent network read from both ends. Equations and shapes at the top of the file."""

    Config = QRNNConfig
    year = 2016
    paper = "Bradbury et al. 2016, Quasi-recurrent neural networks"
    summary = "quasi-recurrent network read from both ends"
    cell_options = QRNN.cell_options
