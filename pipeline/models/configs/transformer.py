"""The options of `--arch transformer`."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.errors import UsageError
from pipeline.models.configs.base import MOST_FEATURES, Layers, RecurrentConfig
from pipeline.options.option import MODEL, REGULARISATION, Option


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(RecurrentConfig):
    """`hidden_dim`: the width H; `heads` divides it; `feedforward_dim`: width of the feed-forward layers;
    `attention_dropout`: dropout on the output of each sub-layer (`dropout` applies to the pooled features)."""

    layers: Layers = 2
    heads: Annotated[int, Option(panel=MODEL, help="Number of attention heads; must divide the hidden size.", minimum=1)] = 4
    feedforward_dim: Annotated[
        int, Option(panel=MODEL, help="Hidden size of the feed-forward layers.", minimum=1, maximum=MOST_FEATURES)
    ] = 256
    attention_dropout: Annotated[
        float, Option(panel=REGULARISATION, help="Dropout on the output of each sub-layer.", minimum=0, below=1)
    ] = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_dim % self.heads:
            raise UsageError(f"--heads {self.heads}: must divide --hidden-dim {self.hidden_dim}.")
