"""What the peers of ingest share: the files, the tokenizer's rules in plain Python, the vocabulary, the proof."""

import argparse
import json
import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

MAX_VOCAB = 30_000
UNKNOWN, FIRST = 1, 2
"""Id of a token that is not in the vocabulary, and of the first one that is."""
BATCH_ROWS = 2000
"""As many as ours; with 512, the floor is slower."""


def arguments(how: Sequence[str] = ()) -> argparse.Namespace:
    """--input: the folder of reviews; --output: a folder for the ids; --check: read them back instead; --how: one of `how`,
    by default the first."""
    parser = argparse.ArgumentParser()
    if how:
        parser.add_argument("--how", choices=how, default=how[0])
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    return options


def review_files(root: str) -> list[str]:
    """Paths of every `.txt` file below the folder, sorted, the lists of films left out."""
    found, folders = [], [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.name.endswith(".txt") and not entry.name.startswith("urls_"):
                    found.append(entry.path)
    return sorted(found)


def batches(paths: list[str]) -> list[list[str]]:
    return [paths[start : start + BATCH_ROWS] for start in range(0, len(paths), BATCH_ROWS)]


def read(path: str) -> str:
    with open(path, "rb") as stream:  # noqa: PTH123  # faster than pathlib, and a peer is to be at its best
        return stream.read().decode()


def basic_english(text: str) -> list[str]:
    """The rules of `basic_english` in the fastest plain Python: `str.replace` beats every regular expression."""
    text = text.lower().replace('"', "").replace("<br />", " ").replace(";", " ").replace(":", " ")
    for mark in ".,()!?'":
        text = text.replace(mark, f" {mark} ")
    return text.split()


def index_of(counts: Counter[str]) -> dict[str, int]:
    """Token → id: by count descending, then token ascending."""
    counts.pop("<pad>", None)
    counts.pop("<unk>", None)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_VOCAB]
    return {token: number for number, (token, _) in enumerate(ordered, start=FIRST)}


def prove(rows: Iterable[np.ndarray], vocabulary: int) -> None:
    """Prints what the benchmark compares."""
    sys.stdout.write(json.dumps(prove_rows(rows, vocabulary)) + "\n")


def prove_rows(rows: Iterable[np.ndarray], vocabulary: int) -> dict[str, int]:
    """Counts, and a checksum over every id of every review, whatever their order."""
    reviews = tokens = unknown = checksum = 0
    for ids in rows:
        reviews += 1
        tokens += len(ids)
        unknown += int(np.count_nonzero(ids == UNKNOWN))
        checksum += zlib.crc32(np.ascontiguousarray(ids, "<i4").tobytes())
    return {"reviews": reviews, "tokens": tokens, "unknown": unknown, "vocabulary": vocabulary, "checksum": checksum}
