"""The book's way: one process, a Python loop over the reviews, a Counter, a dictionary, arrays in one file.

Its tokenizer is torchtext's `basic_english`, which substitutes one regular expression after the other.
"""

import pickle
import re
from collections import Counter

import numpy as np
from ingest_common import UNKNOWN, arguments, index_of, prove, review_files

PATTERNS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\"", ""),
        (r"<br \/>", " "),
        (r"'", " ' "),
        (r"\.", " . "),
        (r",", " , "),
        (r"\(", " ( "),
        (r"\)", " ) "),
        (r"\!", " ! "),
        (r"\?", " ? "),
        (r"\;", " "),
        (r"\:", " "),
        (r"\s+", " "),
    )
]


def tokenize(text: str) -> list[str]:
    text = text.lower()
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text.split()


def main() -> None:
    options = arguments()
    target = options.output / "reviews.pickle"
    if options.check:
        arrays, index = pickle.loads(target.read_bytes())
        prove(arrays, len(index))
        return
    counts: Counter[str] = Counter()
    reviews = []
    for path in review_files(options.input):
        with open(path, encoding="utf-8", newline="") as stream:  # noqa: PTH123
            tokens = tokenize(stream.read())
        counts.update(tokens)
        reviews.append(tokens)
    index = index_of(counts)
    arrays = [np.array([index.get(token, UNKNOWN) for token in tokens], np.int32) for tokens in reviews]
    with target.open("wb") as stream:
        pickle.dump((arrays, index), stream, pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    main()
