"""Multi-dimensional RNN over a review laid out as a page: sentences × words.

    h_{s,w} = tanh(V x_{s,w} + U₁ h_{s−1,w} + U₂ h_{s,w−1} + b)

x_{s,w}: E features of word w of sentence s; h: H features; h is 0 outside the page and where a sentence has ended.
With `directions` 4, four such layers read the page from its four corners, and their states stand side by side.
Sentences end at the tokens `sentence_ends` (from the vocabulary: . ! ?) and are broken at `width` words; a vocabulary
without marks, as the tokenizer `punctuation` makes it, gives lines of `width` words. States go back into the order of
the tokens: (B, T, H · directions). Pooling `last` takes the last token's cell.

Source: Graves, Fernández & Schmidhuber 2007, "Multi-dimensional recurrent neural networks", ICANN, section 2.1 and, for
the four directions, 2.2.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pipeline.models.configs.base import ModelConfig
from pipeline.models.configs.md_rnn import MDRNNConfig
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.page import PageRNN, lay_out


class MDRNN(ReviewClassifier):
    """Multi-dimensional RNN. Equations and shapes at the top of the file."""

    Config: ClassVar[type[ModelConfig]] = MDRNNConfig
    year = 2007
    paper = "Graves, Fernández & Schmidhuber 2007, Multi-dimensional recurrent neural networks"
    summary = "RNN over sentences × words"
    sentence_ends: Tensor

    def __init__(self, config: MDRNNConfig) -> None:
        states_dim = config.hidden_dim * config.directions
        super().__init__(config, states_dim)
        self.width = config.width
        corners = [(False, False), (False, True), (True, False), (True, True)][: config.directions]
        input_dims = [config.input_dim] + [states_dim] * (config.layers - 1)
        self.page_layers = nn.ModuleList(
            nn.ModuleList(PageRNN(dim, config.hidden_dim, up=up, left=left) for up, left in corners) for dim in input_dims
        )
        self.register_buffer("sentence_ends", torch.tensor(config.sentence_ends, dtype=torch.int64), persistent=False)

    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, H · directions), 0 at padding."""
        page = lay_out(ids_BT, lengths_B, self.sentence_ends, self.width)
        states = embedded_BTE
        for number, corners in enumerate(self.page_layers):
            inputs = self.dropout(states) if number else states
            assert isinstance(corners, nn.ModuleList)
            states = torch.cat([corner(inputs, lengths_B, page, self.width) for corner in corners], dim=-1)
        return states
