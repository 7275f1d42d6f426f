"""A small bundle with random weights, and reviews to score."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.models.bundle import Bundle, save_bundle
from pipeline.models.registry import build_model
from pipeline.text.tokenizers import tokenize
from pipeline.text.vocabulary import TokenCounts, Vocabulary, build_vocabulary

WORDS = "the film was not good but bad and very long , a dull story with great actors in it".split()
MAX_LENGTH = 12


def make_texts(count: int, seed: int = 0) -> list[str]:
    """`count` texts of 0 to 30 words; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 31, (count,), generator=generator).tolist()
    return [" ".join(WORDS[i] for i in torch.randint(0, len(WORDS), (n,), generator=generator).tolist()) for n in lengths]


def make_vocabulary(labels: tuple[str, ...] = ("neg", "pos")) -> Vocabulary:
    counts = TokenCounts()
    counts.add(tokenize("basic_english", pa.array([" ".join(WORDS)])).flatten().dictionary_encode())
    return build_vocabulary(counts, "basic_english", labels, max_vocab=0, min_count=1)


def make_bundle(folder: Path, arch: str = "bilstm", labels: tuple[str, ...] = ("neg", "pos"), seed: int = 0) -> Bundle:
    """A bundle with random weights that are large enough to give probabilities all over (0, 1)."""
    vocabulary = make_vocabulary(labels)
    torch.manual_seed(seed)
    config = {"vocab_size": len(vocabulary), "num_classes": len(labels), "embedding_dim": 8, "hidden_dim": 8}
    model = build_model(arch, config)
    for parameter in model.parameters():
        parameter.detach().mul_(3.0)
    return save_bundle(
        folder, model=model, arch=arch, labels=vocabulary.labels, tokenizer="basic_english", max_length=MAX_LENGTH,
        vocabulary=vocabulary, table_version=None, metrics={}, training={}, created="2026-01-01T00:00:00Z",
    )  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake whose LATEST is a small random bilstm."""
    root = tmp_path / "lake"
    make_bundle(root / "models" / "first")
    (root / "models" / "LATEST").write_text("first\n")
    return root


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes columns as a Parquet file in the test's folder."""

    def write_file(name: str = "reviews.parquet", row_group_size: int = 100, **columns: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
        return path

    return write_file
