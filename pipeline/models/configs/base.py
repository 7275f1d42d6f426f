"""The options of all architectures, of networks, and of recurrent networks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import MODEL, REGULARISATION, Option

POOLINGS = ("last", "max", "mean", "max-mean", "attention")

MOST_FEATURES, MOST_LAYERS = 1_000_000, 1_000
"""Far more than fits any machine, to catch typing errors."""

EmbeddingDim = Annotated[int, Option(panel=MODEL, help="Embedding dimension.", minimum=1, maximum=MOST_FEATURES)]
HiddenDim = Annotated[int, Option(panel=MODEL, help="Hidden size per direction.", minimum=1, maximum=MOST_FEATURES)]
Layers = Annotated[int, Option(panel=MODEL, help="Number of layers.", minimum=1, maximum=MOST_LAYERS)]
EmbeddingDropout = Annotated[float, Option(panel=REGULARISATION, help="Dropout on embeddings.", minimum=0, below=1)]
Dropout = Annotated[
    float, Option(panel=REGULARISATION, help="Dropout on pooled features and between layers.", minimum=0, below=1)
]


@dataclass(frozen=True, kw_only=True)
class ArchitectureConfig:
    """The options of every architecture. `vocab_size` comes from the data, and `num_classes`, the number of
    outputs, from the task.

    Raises:
        UsageError: a value that is not allowed.
    """

    linear: ClassVar[bool] = False
    """Whether it is the linear n-gram model, which the `--linear-…` options configure, and not a network."""

    vocab_size: int
    num_classes: int

    def __post_init__(self) -> None:
        for name in ("vocab_size", "num_classes"):
            value = getattr(self, name)
            least = 2 if name == "vocab_size" else 1
            if type(value) is not int or value < least:
                raise UsageError(f"{name} {value!r}: expected a whole number, {least} or more.")
        validate(self)

    @classmethod
    def from_vocabulary(cls, tokens: Sequence[str]) -> dict[str, Any]:
        """Options derived from the vocabulary's tokens (ID = index). Most architectures have none."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, from which `registry.build_model` builds an equal model."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ArchitectureConfig):
    """Options of networks over token embeddings. `dropout` applies to the pooled features and between layers;
    `embedding_dropout` to the embeddings.

    Raises:
        UsageError: a value that is not allowed.
    """

    embedding_dim: EmbeddingDim = 128
    embedding_dropout: EmbeddingDropout = 0.0
    dropout: Dropout = 0.5
    pooling: Annotated[
        str, Option(panel=MODEL, help="Pooling over time steps: last, max, mean, max-mean, attention.", choices=POOLINGS)
    ] = "max-mean"
    embedding_std: Annotated[float, Option(panel=MODEL, help="Standard deviation of the initial embeddings.", above=0)] = 0.1


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(ModelConfig):
    """Options of architectures with recurrent layers. `hidden_dim` is the hidden size per direction."""

    hidden_dim: HiddenDim = 128
    layers: Layers = 1
    embedding_dropout: EmbeddingDropout = 0.5
