"""The options of `--arch md-rnn`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pipeline.models.configs.base import RecurrentConfig
from pipeline.options.option import MODEL, Option

MARKS = (".", "!", "?")


@dataclass(frozen=True, kw_only=True)
class MDRNNConfig(RecurrentConfig):
    """`width`: maximum words per line. `sentence_ends`: IDs of the tokens that end a sentence."""

    width: Annotated[int, Option(panel=MODEL, help="Maximum words per line; longer sentences are wrapped.", minimum=1)] = 32
    directions: Annotated[
        int, Option(panel=MODEL, help="Number of corners to read the page from: 1 or 4.", choices=(1, 4))
    ] = 1
    sentence_ends: tuple[int, ...] = ()

    @classmethod
    def from_vocabulary(cls, tokens: Sequence[str]) -> dict[str, Any]:
        """The IDs of the vocabulary's sentence marks."""
        return {"sentence_ends": tuple(number for number, token in enumerate(tokens) if token in MARKS)}
