"""Small trainings with the command line."""

from pathlib import Path
from typing import Any

from tests.support.commands import invoke
from tests.support.token_corpus import Corpus

SMALL = (
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


def train(lake: Path, corpus: Corpus, *arguments: object) -> dict[str, Any]:
    return invoke("train", "--lake", lake, "--tokens", corpus.shards, *SMALL, *arguments)
