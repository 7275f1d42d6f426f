"""A language model in each direction of a recurrent architecture: each token is predicted from those before, and after, it.

    L_b = − Σ_{t=2..L} log p(x_t | h→_{t−1}) − Σ_{t=1..L−1} log p(x_t | h←_{t+1})

h→_t, h←_t: the architecture's state at token t, which has read the tokens up to t in its direction. A review is read from
its ends, as when it is classified, with states that start at zero. Both directions share the embedding and one adaptive
softmax: frequent tokens have full width, rarer ones a fraction of it.

B rows, T positions, E embedding features, H features of a direction, D directions, N predictions, V tokens.

Source: Dai & Le 2015, "Semi-supervised sequence learning", section 2.1; both directions with one softmax: Peters et al.
2018, "Deep contextualized word representations", section 3.1; the softmax: Grave et al. 2017, "Efficient softmax
approximation for GPUs", ICML.
"""

from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import UsageError
from pipeline.models.interface import Classifier, ReviewClassifier
from pipeline.models.layers.masking import token_mask

CUTOFFS = (2_000, 10_000)
"""Ranks of tokens, by frequency, at which a cluster of the softmax ends. 2,000 tokens are about 85 % of English text."""
SHRINKING, FEWEST_FEATURES = 4.0, 64
"""Each cluster of rarer tokens has so many times fewer features, unless a direction has few."""
BODY, SOFTMAX = "body.", "softmax."
"""Beginnings of the parameters' names: those that a classifier has, too, and the others."""


class LanguageModel(Classifier):
    """An architecture as a language model: it outputs what a review costs, in nats, in each direction (B, D)."""

    def __init__(self, body: ReviewClassifier, arch: str) -> None:
        """`body`: the architecture as a classifier; what only classifies stays untrained. `arch` is for messages.

        Raises:
            UsageError: a state would see the token that it predicts.
        """
        super().__init__(body.config)
        _check(body, arch)
        self.body = body
        self.num_directions = 2 if body.bidirectional else 1
        features, vocab_size = body.states_dim // self.num_directions, body.config.vocab_size
        cutoffs = [cutoff for cutoff in CUTOFFS if cutoff < vocab_size] or [vocab_size // 2]
        shrinking = SHRINKING if features >= FEWEST_FEATURES else 1.0
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(features, vocab_size, cutoffs, div_value=shrinking, head_bias=True)
        self._freeze_the_rest()

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """What each review costs in each direction (B, D)."""
        costs_BD: Tensor = self.classify(self.embed(ids_BT, lengths_B), ids_BT, lengths_B)
        return costs_BD

    def embed(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The embedded tokens (B, T, E)."""
        return self.body.embed(ids_BT, lengths_B)

    def classify(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """What each review costs in each direction (B, D)."""
        body = self.body
        states_BTS = body.dropout(body.encode(body.embedding_dropout(embedded_BTE), ids_BT, lengths_B))
        width = states_BTS.shape[2] // self.num_directions
        has_both = token_mask(lengths_B, ids_BT.shape[1])[:, 1:]
        rows_N = has_both.nonzero()[:, 0]
        states, targets = [states_BTS[:, :-1, :width][has_both]], [ids_BT[:, 1:][has_both]]
        if self.num_directions == 2:
            states.append(states_BTS[:, 1:, width:][has_both])
            targets.append(ids_BT[:, :-1][has_both])
        with torch.autocast(ids_BT.device.type, enabled=False):
            # Every parameter takes part in every step, also where no rare token occurs: ranks then exchange the same.
            unused = states_BTS[:, 0].float().sum()
            for parameter in self.softmax.parameters():
                unused = unused + parameter.sum()
            costs_BD: Tensor = unused * torch.zeros(len(ids_BT), self.num_directions, device=ids_BT.device)
            if not len(rows_N):
                return costs_BD
            costs_N: Tensor = -self.softmax(torch.cat(states).float(), torch.cat(targets).long()).output
            place_N = torch.cat([rows_N * self.num_directions + way for way in range(self.num_directions)])
            return costs_BD.flatten().index_add(0, place_N, costs_N).view_as(costs_BD)

    def weights(self) -> dict[str, Tensor]:
        """What was trained: the classifier's parameters under their names there, and those of the softmax."""
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {name.removeprefix(BODY): tensor for name, tensor in self.state_dict().items() if name in trained}

    def _freeze_the_rest(self) -> None:
        """Parameters that no prediction depends on, such as the output layer of the classifier, are not trained."""
        was_training = self.training
        self.eval()
        first = torch.ones(1, 2, dtype=torch.int64)
        self(first, torch.tensor([2])).sum().backward()
        for parameter in self.parameters():
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None
        self.train(was_training)


def _check(body: ReviewClassifier, arch: str) -> None:
    config: Any = body.config
    if not body.is_causal:
        raise UsageError(
            f"--arch {arch}: its states see the whole review, so they cannot predict its tokens. Choose a recurrent "
            "architecture, or --objective vectors, which fits every one."
        )
    if body.bidirectional and getattr(config, "layers", 1) > 1:
        raise UsageError(
            f"--arch {arch} --layers {config.layers}: the second layer reads both directions, so it would see the tokens "
            "that it predicts. Pretrain with --layers 1; 'pipeline train --layers' may have more, which start "
            "from random weights."
        )
