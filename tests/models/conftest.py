"""A small vocabulary, random batches as the trainer makes them, and reviews whose label the order of the words tells."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest
import torch
from torch import Tensor

from pipeline.text.vocabulary import Vocabulary
from tests.jobs.test_jobs_train import invoke

PHRASES = {"neg": ("not good", "very bad"), "pos": ("very good", "not bad")}
WORDS = (".", "!", "not", "good", "bad", "very")


def make_vocabulary(size: int = 60) -> Vocabulary:
    words = [*WORDS, *(f"word{number}" for number in range(size - 2 - len(WORDS)))]
    return Vocabulary(
        tokens=pa.array(["<pad>", "<unk>", *words]),
        counts=pa.array([0, 0, *range(len(words), 0, -1)], pa.int64()),
        tokenizer="basic_english",
        labels=("neg", "pos"),
    )


@pytest.fixture
def vocabulary() -> Vocabulary:
    return make_vocabulary()


def random_batch(lengths: list[int], vocab_size: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """ids_BT padded to the longest row, lengths_B."""
    generator = torch.Generator().manual_seed(seed)
    ids_BT = torch.randint(1, vocab_size, (len(lengths), max(lengths)), generator=generator)
    lengths_B = torch.tensor(lengths)
    ids_BT[torch.arange(max(lengths)) >= lengths_B.unsqueeze(1)] = 0
    return ids_BT, lengths_B


def order_reviews(count: int, seed: int) -> pa.Table:
    """text, label and film of so many reviews of 4 to 15 tokens, such as `word7 . not good word9 very bad`.

    Both labels' reviews hold the same words, so no count of words tells the label; it is learned by who learns order.
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


@pytest.fixture(scope="session")
def order_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviews for training, as `order_reviews` makes them, ingested."""
    folder = tmp_path_factory.mktemp("order")
    pa.csv.write_csv(order_reviews(3000, seed=0), folder / "reviews.csv")
    invoke("ingest", folder / "reviews.csv", "--group-column", "film", "--lake", folder / "lake")
    return folder / "lake"
