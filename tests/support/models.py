"""A small vocabulary, models of it, and random batches as the trainer makes them."""

from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from pipeline.models.bundle import Bundle, save_bundle
from pipeline.models.registry import build_model
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


def random_batch(lengths: list[int], vocab_size: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """ids_BT padded to the longest row, lengths_B."""
    generator = torch.Generator().manual_seed(seed)
    ids_BT = torch.randint(1, vocab_size, (len(lengths), max(lengths)), generator=generator)
    lengths_B = torch.tensor(lengths)
    ids_BT[torch.arange(max(lengths)) >= lengths_B.unsqueeze(1)] = 0
    return ids_BT, lengths_B


def save_rnn(
    folder: Path,
    vocabulary: Vocabulary,
    hidden_dim: int = 4,
    labels: tuple[str, ...] = ("neg", "pos"),
    table_version: int | None = 3,
) -> Bundle:
    torch.manual_seed(hidden_dim)
    sizes = {"vocab_size": len(vocabulary), "num_classes": len(labels), "embedding_dim": 4, "hidden_dim": hidden_dim}
    return save_bundle(
        folder,
        model=build_model("rnn", sizes),
        arch="rnn",
        labels=labels,
        tokenizer="basic_english",
        max_length=12,
        vocabulary=vocabulary,
        table_version=table_version,
        metrics={"valid_accuracy": 0.75},
        training={"seed": 1},
        created="2026-01-01",
    )
