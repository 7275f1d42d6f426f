"""The options of `--arch attention-rnn`."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.models.configs.base import RecurrentConfig
from pipeline.options.option import MODEL, Option

CELLS = ("rnn", "lstm", "peephole-lstm", "gru")
"""What an encoder reads with; each also in both directions, as `birnn`, `bilstm`, …"""
BIDIRECTIONAL = {f"bi{name}": name for name in CELLS}
KINDS = ("global", "local")
SCORES = ("additive", "general", "scaled-dot")


@dataclass(frozen=True, kw_only=True)
class AttentionRNNConfig(RecurrentConfig):
    """`cell`: what the encoder is made of; `attention`: global or local; `score`: how a state and the query are compared;
    `window`: D of local attention, in tokens to each side."""

    pooling: Annotated[
        str,
        Option(
            panel=MODEL, help="Pooling that gives the query (attention-rnn).", choices=("last", "max", "mean", "max-mean")
        ),
    ] = "last"
    cell: Annotated[
        str,
        Option(panel=MODEL, help="What the encoder reads with: rnn, bilstm, gru, …", choices=(*CELLS, *BIDIRECTIONAL)),
    ] = "bilstm"
    attention: Annotated[str, Option(panel=MODEL, help="global, or local: a window of tokens.", choices=KINDS)] = "global"
    score: Annotated[
        str, Option(panel=MODEL, help="Scoring function (attention-rnn): additive, general, scaled-dot.", choices=SCORES)
    ] = "additive"
    window: Annotated[int, Option(panel=MODEL, help="Tokens to each side that local attention sees.", minimum=1)] = 10
