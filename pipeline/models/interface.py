"""What every architecture is: a config dataclass and a `ReviewClassifier`.

A classifier is embedding → `encode` → pooling → linear; an architecture writes `encode` and says how wide its states
are. B rows, T positions, E embedding features, S features of a state, C classes, V tokens of the vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from pipeline.errors import UsageError, unknown_choice
from pipeline.models.layers.dropout import Dropout
from pipeline.models.layers.pooling import POOLINGS, Pooling
from schemas.vocabulary import PAD_ID


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Options of all architectures. `dropout` acts on the pooled features, and between layers where there are several;
    `embedding_dropout` on the embedded tokens.

    Raises:
        UsageError: a value that cannot be.
    """

    vocab_size: int
    num_classes: int
    embedding_dim: int = 128
    embedding_dropout: float = 0.0
    dropout: float = 0.5
    pooling: str = "max-mean"

    poolings: ClassVar[tuple[str, ...]] = POOLINGS
    """The poolings that make sense for this architecture."""

    def __post_init__(self) -> None:
        self.check_at_least(2, "vocab_size", "num_classes")
        self.check_at_least(1, "embedding_dim")
        self.check_probability("dropout", "embedding_dropout")
        self.check_choice("pooling", self.poolings)

    @classmethod
    def from_vocabulary(cls, tokens: Sequence[str]) -> dict[str, Any]:
        """Options that follow from the vocabulary's tokens (id = place). Most architectures have none."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, from which `registry.build_model` builds an equal model."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def check_at_least(self, smallest: int, *names: str) -> None:
        """Raises `UsageError` unless the fields named are whole numbers from `smallest` on."""
        for name in names:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise UsageError(f"{option(name)} {value!r}: expected a whole number, {smallest} or more.")

    def check_probability(self, *names: str) -> None:
        """Raises `UsageError` unless the fields named are in [0, 1)."""
        for name in names:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1.0:
                raise UsageError(f"{option(name)} {value!r}: expected a number from 0 up to, but below, 1.")

    def check_choice(self, name: str, choices: Sequence[str]) -> None:
        """Raises `UsageError`, which lists the choices, unless the field named is one of them."""
        if getattr(self, name) not in choices:
            raise unknown_choice(option(name), str(getattr(self, name)), choices)


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(ModelConfig):
    """Options of architectures with recurrent layers. `hidden_dim` is the width of a layer, in each direction."""

    hidden_dim: int = 128
    layers: int = 1
    embedding_dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_at_least(1, "hidden_dim", "layers")


def option(name: str) -> str:
    """How people give a config field: `hidden_dim` is `--hidden-dim`."""
    return "--" + name.replace("_", "-")


class ReviewClassifier(nn.Module, ABC):
    """A model that gives each review's logits. A row's logits never depend on its batch-mates or on the padding.

    An architecture sets the class attributes, calls `super().__init__` with the width of its states, and writes
    `encode`. The trainer may set `embedding.sparse = True` before the first step.
    """

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    year: ClassVar[int]
    paper: ClassVar[str]
    """Authors, year, title."""
    summary: ClassVar[str]
    """One line for `pipeline models --archs`."""

    def __init__(
        self, config: ModelConfig, states_dim: int, *, bidirectional: bool = False, features_dim: int | None = None
    ) -> None:
        """`states_dim` is S; `features_dim` is given where `features` returns another width than pooling does."""
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_dim, padding_idx=PAD_ID)
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
        return cast(Tensor, self.embedding(ids_BT.t()).transpose(0, 1))

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

    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def _initialise(self) -> None:
        # Small embeddings let frequent words move first; N(0, 1), torch's default, drowns the recurrence in noise.
        with torch.no_grad():
            self.embedding.weight.normal_(std=0.1)
            self.embedding.weight[PAD_ID].zero_()
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
