"""What the peers of scoring share: a tokenizer in plain Python, the bundle's weights, where results go."""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

_PATTERNS = [(re.compile(r"([.,()!?'])"), r" \1 "), (re.compile(r"<br />|[;:]"), " ")]


def arguments() -> argparse.Namespace:
    """--input, --bundle, --output, --rows (0: all), --threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


def basic_english(text: str) -> list[str]:
    """The rules of the tokenizer `basic_english`, one review at a time."""
    text = text.lower().replace('"', "")
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text.split()


class Ids:
    """Turns a text into token ids with a dictionary, as a notebook would."""

    def __init__(self, bundle: Path, max_length: int) -> None:
        tokens = pq.read_table(bundle / "vocabulary.parquet")["token"].to_pylist()
        self.index = {token: number for number, token in enumerate(tokens)}
        self.max_length = max_length

    def __call__(self, text: str) -> list[int]:
        return [self.index.get(token, 1) for token in basic_english(text)[: self.max_length]] or [1]


def texts(path: Path, rows: int) -> list[str]:
    """The first `rows` texts of a file; all for 0."""
    column = pq.read_table(path, columns=["text"])["text"].to_pylist()
    return column[:rows] if rows else column


def save(path: Path, positive: np.ndarray) -> None:
    """Writes the probabilities of the second label."""
    np.save(path, positive.astype(np.float32))


def say(line: str) -> None:
    """The JSON line that the harness reads."""
    sys.stdout.write(line + "\n")
