"""fastText on folds by group, beside `pipeline crossval` of the same table.

    python tests/benchmarks/peers/accuracy_fasttext.py TABLE.parquet [--folds 5]

TABLE has the columns id, text, label and group, as `imdb_tables.py` writes them. The folds are those of `pipeline crossval`.
A tenth of the other groups chooses the number of epochs, by macro-F1, among 5, 10, 25 and 50; bigrams, lines in random
order, lower case, punctuation apart. Then the model is fitted on everything outside of the fold.
"""

import argparse
import hashlib
import random
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import fasttext
import pyarrow.parquet as pq

EPOCHS = (5, 10, 25, 50)
PUNCTUATION = re.compile(r"([^\w\s']|_)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rows = pq.read_table(options.table).to_pylist()
    lines = [f"__label__{row['label']} {_words(row['text'])}" for row in rows]
    hashes = [int.from_bytes(hashlib.sha256(row["group"].encode()).digest()[:8], "big") for row in rows]
    found = []
    for fold in range(options.folds):
        held = [line for line, value in zip(lines, hashes, strict=True) if value % options.folds == fold]
        rest = [(line, value) for line, value in zip(lines, hashes, strict=True) if value % options.folds != fold]
        started = time.perf_counter()
        valid = [line for line, value in rest if value // options.folds % 10 == 0]
        train = [line for line, value in rest if value // options.folds % 10]
        best = max(EPOCHS, key=lambda epochs: _figures(_fit(train, epochs, options.threads), valid)[1])
        accuracy, f1 = _figures(_fit([line for line, _ in rest], best, options.threads), held)
        found.append((accuracy, f1))
        seconds = time.perf_counter() - started
        print(f"fold {fold}: accuracy {accuracy:.4f}, macro-F1 {f1:.4f}, {best} epochs, {seconds:.0f} s", flush=True)
    for name, values in zip(("accuracy", "macro-F1"), zip(*found, strict=True), strict=True):
        print(f"{name}: mean {statistics.mean(values):.4f}, spread {statistics.stdev(values):.4f}")


def _words(text: str) -> str:
    return " ".join(PUNCTUATION.sub(r" \1 ", text.lower()).split())


def _fit(lines: Sequence[str], epochs: int, threads: int) -> "fasttext.FastText._FastText":
    lines = list(lines)
    random.Random(0).shuffle(lines)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        return fasttext.train_supervised(
            file.name, epoch=epochs, lr=0.5, wordNgrams=2, dim=100, thread=threads, seed=0, verbose=0
        )


def _figures(model: "fasttext.FastText._FastText", lines: Sequence[str]) -> tuple[float, float]:
    """Accuracy and macro-F1."""
    pairs = [line.partition(" ")[::2] for line in lines]
    labels = [label for label, _ in pairs]
    predicted = [answer[0] for answer in model.predict([text for _, text in pairs])[0]]
    scores = []
    for label in sorted(set(labels)):
        right = sum(one == label == other for one, other in zip(labels, predicted, strict=True))
        scores.append(2 * right / max(1, labels.count(label) + predicted.count(label)))
    accuracy = sum(one == other for one, other in zip(labels, predicted, strict=True)) / len(labels)
    return accuracy, statistics.mean(scores)


if __name__ == "__main__":
    main()
