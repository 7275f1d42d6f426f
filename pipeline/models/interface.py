"""What every architecture is: a config dataclass and a `Classifier`, of which most are a `ReviewClassifier`.

A `ReviewClassifier` is embedding → `encode` → pooling → linear; an architecture writes `encode` and says how wide its states
are. Where it has region features, they stand beside the embedding. B rows, T positions, E features of an embedded token, S
features of a state, C classes, V tokens of the vocabulary.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from pipeline.errors import UsageError
from pipeline.models.configs.base import ArchitectureConfig, ModelConfig, RecurrentConfig
from pipeline.models.layers.dropout import Dropout
from pipeline.models.layers.pooling import Pooling
from pipeline.models.layers.regions import Regions
from schemas.vocabulary import PAD_ID

__all__ = ["ArchitectureConfig", "Classifier", "ModelConfig", "RecurrentConfig", "ReviewClassifier"]


class Classifier(nn.Module, ABC):
    """A model that gives each review's logits. A row's logits never depend on other rows or on the padding."""

    Config: ClassVar[type[ArchitectureConfig]] = ArchitectureConfig
    year: ClassVar[int]
    paper: ClassVar[str]
    """Authors, year, title."""
    summary: ClassVar[str]
    """One line for `pipeline models --archs`."""

    def __init__(self, config: ArchitectureConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C). `ids_BT`: int32 or int64, `<pad>` (0) after the row's end; `lengths_B`: int64, 1 … T."""

    @abstractmethod
    def embed(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The embedded tokens (B, T, E). With `classify`, the seam for perturbing or explaining embeddings."""

    @abstractmethod
    def classify(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C) of embedded tokens."""

    def attention_weights(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor | None:
        """How much each token counts (B, T), 0 at padding, rows sum to 1; None where the model attends to nothing."""
        return None

    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


class ReviewClassifier(Classifier):
    """A network over embedded tokens.

    An architecture sets the class attributes, calls `super().__init__` with the width of its states, and writes
    `encode`. The trainer may set `embedding.sparse = True` before the first step.
    """

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    looked_up_by_id: ClassVar[tuple[str, ...]] = ()
    """Parameters, beside the embedding, whose rows are found by token IDs: under another vocabulary they mean nothing."""
    is_causal: ClassVar[bool] = False
    """Whether the state of a token depends on the tokens up to it alone, in each direction: it can then be trained to
    predict the next one (`language_model.py`)."""
    config: ModelConfig

    def __init__(
        self, config: ModelConfig, states_dim: int, *, bidirectional: bool = False, features_dim: int | None = None
    ) -> None:
        """`states_dim` is S; `features_dim` is given where `features` returns another width than pooling does."""
        super().__init__(config)
        self.states_dim, self.bidirectional = states_dim, bidirectional
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_dim, padding_idx=PAD_ID)
        region_dim = config.input_dim - config.embedding_dim
        self.regions = Regions(config.vocab_size, region_dim) if region_dim else None
        self.embedding_dropout = Dropout(config.embedding_dropout)
        self.pooling = Pooling(config.pooling, states_dim, bidirectional=bidirectional)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(features_dim or self.pooling.output_dim, config.num_classes)
        self._initialise()

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C). `ids_BT`: int32 or int64, `<pad>` (0) after the row's end; `lengths_B`: int64, 1 … T."""
        return self.classify(self.embed(ids_BT, lengths_B), ids_BT, lengths_B)

    def embed(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The embedded tokens (B, T, E). With `classify`, the seam for perturbing or explaining embeddings."""
        # Time-major in memory, as the kernels of recurrent layers want it.
        embedded_TBE = self.embedding(ids_BT.t())
        if self.regions is not None:
            embedded_TBE = torch.cat([embedded_TBE, self.regions(ids_BT, lengths_B).transpose(0, 1)], dim=2)
        return cast(Tensor, embedded_TBE.transpose(0, 1))

    def classify(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C) of embedded tokens."""
        states_BTS = self.encode(self.embedding_dropout(embedded_BTE), ids_BT, lengths_B)
        return cast(Tensor, self.head(self.dropout(self.features(states_BTS, lengths_B))))

    @abstractmethod
    def encode(self, embedded_BTE: Tensor, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """The states (B, T, S) that pooling reads."""

    def features(self, states_BTS: Tensor, lengths_B: Tensor) -> Tensor:
        """What the linear layer reads: the pooled states (B, features)."""
        return cast(Tensor, self.pooling(states_BTS, lengths_B))

    def attention_weights(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor | None:
        """How much each token counts (B, T), 0 at padding, rows sum to 1; None where the model attends to nothing."""
        if self.pooling.kind != "attention":
            return None
        states_BTS = self.encode(self.embedding_dropout(self.embed(ids_BT, lengths_B)), ids_BT, lengths_B)
        return self.pooling.weights(states_BTS, lengths_B)

    def set_embedding(self, matrix_VE: Tensor) -> None:
        """Starts the embedding from a matrix, such as `embeddings.load_embeddings` gives; `<pad>` stays zero.

        Raises:
            UsageError: its vectors have another width than the embedding.
        """
        rows, width = matrix_VE.shape
        assert rows == self.config.vocab_size, (rows, self.config.vocab_size)
        if width != self.config.embedding_dim:
            raise UsageError(
                f"--embedding-dim {self.config.embedding_dim}: the vectors of --embeddings have {width} numbers. "
                f"Give {width}, or leave --embedding-dim out."
            )
        with torch.no_grad():
            self.embedding.weight.copy_(matrix_VE)
            self.embedding.weight[PAD_ID].zero_()

    def _initialise(self) -> None:
        # Small embeddings let frequent words move first; N(0, 1), torch's default, drowns the recurrence in noise.
        with torch.no_grad():
            self.embedding.weight.normal_(std=self.config.embedding_std)
            self.embedding.weight[PAD_ID].zero_()
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
