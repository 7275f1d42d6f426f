"""Small trainings with the command line."""

from pathlib import Path
from typing import Any

from tests.support.commands import invoke
from tests.support.token_corpus import Corpus

ARCH = (
    "--arch",
    "lstm",
    "--epochs",
    "2",
    "--embedding-dim",
    "8",
    "--hidden-dim",
    "8",
    "--batch-size",
    "32",
    "--workers",
    "1",
)
SMALL = (*ARCH, "--no-baseline")
"""The n-gram model for comparison takes longer than the network; `ARCH` fits it, too."""


def train(lake: Path, corpus: Corpus, *arguments: object) -> dict[str, Any]:
    return invoke("train", "--lake", lake, "--tokens", corpus.shards, *SMALL, *arguments)
