"""A small vocabulary, and random batches as the trainer makes them."""

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from pipeline.text.vocabulary import Vocabulary

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
