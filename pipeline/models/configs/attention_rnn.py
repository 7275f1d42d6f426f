"""The options of `--arch attention-rnn`."""

from dataclasses import dataclass
from typing import Annotated

from pipeline.models.configs.base import RecurrentConfig
from pipeline.options.option import MODEL, Option

CELLS = ("rnn", "lstm", "peephole-lstm", "gru")
"""Encoder cells; each also has a bidirectional variant: `birnn`, `bilstm`, …"""
BIDIRECTIONAL = {f"bi{name}": name for name in CELLS}
KINDS = ("global", "local")
SCORES = ("additive", "general", "scaled-dot")


@dataclass(frozen=True, kw_only=True)
class AttentionRNNConfig(RecurrentConfig):
    """`cell`: the encoder's cell; `attention`: global or local; `score`: how a state and the query are compared;
    `window`: D of local attention, in tokens to each side."""

    pooling: Annotated[
        str,
        Option(panel=MODEL, help="Pooling that computes the query.", choices=("last", "max", "mean", "max-mean")),
    ] = "last"
    cell: Annotated[
        str,
        Option(panel=MODEL, help="Encoder cell: rnn, bilstm, gru, …", choices=(*CELLS, *BIDIRECTIONAL)),
    ] = "bilstm"
    attention: Annotated[
        str, Option(panel=MODEL, help="Attention: global, or local (a window of tokens).", choices=KINDS)
    ] = "global"
    score: Annotated[str, Option(panel=MODEL, help="Scoring function: additive, general or scaled-dot.", choices=SCORES)] = (
        "additive"
    )
    window: Annotated[int, Option(panel=MODEL, help="Tokens on each side in the window of local attention.", minimum=1)] = 10
