"""Reviews in files: a corpus in aclImdb's layout, and reviews whose label the order of their words gives."""

import random
from pathlib import Path

import pyarrow as pa

PHRASES = {"neg": ("not good", "very bad"), "pos": ("very good", "not bad")}


def write_corpus(root: Path, reviews_per_label: int = 30) -> Path:
    """A corpus in aclImdb's layout: train and test, neg and pos, unsup, films; deterministic, two labels that differ."""
    verdicts = {"neg": "bad dull awful boring", "pos": "good fine lovely moving"}
    for split in ("train", "test"):
        for label, words in verdicts.items():
            folder = root / "aclImdb" / split / label
            folder.mkdir(parents=True)
            for number in range(reviews_per_label):
                word = words.split()[number % 4]
                text = f"Film {number} was {word}, and {split} is its split.<br />It's {'so ' * (number % 7)}{word}!"
                (folder / f"{number}_{9 if label == 'pos' else 2}.txt").write_text(text, encoding="utf-8")
            films = [f"http://films.example/{split}{number // 3}\n" for number in range(reviews_per_label)]
            (folder.parent / f"urls_{label}.txt").write_text("".join(films))
    unsup = root / "aclImdb" / "train" / "unsup"
    unsup.mkdir()
    for number in range(10):
        (unsup / f"{number}_0.txt").write_text(f"Nobody has judged film {number} yet.", encoding="utf-8")
    return root


def order_reviews(count: int, seed: int) -> pa.Table:
    """text, label and film of this many reviews of 4 to 15 tokens, such as `word7 . not good word9 very bad`.

    Reviews of both labels have the same words, so word counts say nothing: a model must learn the order.
    """
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        label = chance.choice(sorted(PHRASES))
        first, second = chance.sample(PHRASES[label], 2)
        before, between, after = (
            " ".join(chance.choice([".", *(f"word{word}" for word in range(40))]) for _ in range(chance.randrange(most)))
            for most in (5, 4, 5)
        )
        rows.append({"text": " ".join((before, first, between, second, after)), "label": label, "film": f"{number // 3}"})
    return pa.Table.from_pylist(rows)
