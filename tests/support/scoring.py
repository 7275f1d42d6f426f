"""A small bundle with random weights, and reviews to score; for the tests of scoring and of its job."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from jobs import score
from jobs.score import ScoreConfig
from pipeline.models.bundle import Bundle, save_bundle
from pipeline.models.registry import build_model
from pipeline.text.tokenizers import tokenize
from pipeline.text.vocabulary import TokenCounts, Vocabulary, build_vocabulary
from schemas.run import Receipt

ADDED = ["prediction", "probability", "probability_neg", "probability_pos", "model_id", "unscored_reason"]
"""The columns that scoring with two classes adds."""

WORDS = [
    "the",
    "film",
    "was",
    "not",
    "good",
    "but",
    "bad",
    "and",
    "very",
    "long",
    ",",
    "a",
    "dull",
    "story",
    "with",
    "great",
    "actors",
    "in",
    "it",
]
MAX_LENGTH = 12


def make_texts(count: int, seed: int = 0) -> list[str]:
    """`count` texts of 0 to 30 words; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 31, (count,), generator=generator).tolist()
    return [" ".join(WORDS[i] for i in torch.randint(0, len(WORDS), (n,), generator=generator).tolist()) for n in lengths]


def make_words(count: int, seed: int = 0) -> list[str]:
    """As `make_texts`, without empty ones."""
    return [text or "story" for text in make_texts(count, seed)]


def make_vocabulary(labels: tuple[str, ...] = ("neg", "pos")) -> Vocabulary:
    counts = TokenCounts()
    counts.add(tokenize("basic_english", pa.array([" ".join(WORDS)])).flatten().dictionary_encode())
    return build_vocabulary(counts, "basic_english", labels, max_vocab=0, min_count=1)


def make_bundle(
    folder: Path, arch: str = "bilstm", labels: tuple[str, ...] = ("neg", "pos"), seed: int = 0, scale: float = 2.0
) -> Bundle:
    """A bundle with random weights; times `scale` they are large enough to give probabilities all over (0, 1)."""
    vocabulary = make_vocabulary(labels)
    torch.manual_seed(seed)
    config = {"vocab_size": len(vocabulary), "num_classes": len(labels), "embedding_dim": 8, "hidden_dim": 8}
    model = build_model(arch, config)
    for name, parameter in model.named_parameters():
        # Recurrent weights stay: larger ones make an RNN chaotic, and rounding would grow with it.
        if "weight_hh" not in name:
            parameter.detach().mul_(scale)
    return save_bundle(
        folder,
        model=model,
        arch=arch,
        labels=vocabulary.labels,
        tokenizer="basic_english",
        max_length=MAX_LENGTH,
        vocabulary=vocabulary,
        table_version=None,
        metrics={},
        training={},
        created="2026-01-01T00:00:00Z",
    )


def make_lake(root: Path) -> Path:
    """A lake whose LATEST is a small random bilstm."""
    make_bundle(root / "models" / "first")
    (root / "models" / "LATEST").write_text("first\n")
    return root


def run_score(lake: Path, *sources: Path | str, **options: Any) -> Receipt:
    """Runs `pipeline score`; paths may be given where the command line takes text."""
    if isinstance(options.get("output"), Path):
        options["output"] = str(options["output"])
    return score.run(ScoreConfig(lake=lake, sources=tuple(map(str, sources)), **options))


def scored(lake: Path, *sources: Path | str, **options: Any) -> pa.Table:
    """The rows that `pipeline score` writes to a Parquet file."""
    receipt = run_score(lake, *sources, **options)
    assert receipt.exit_code == 0
    assert receipt.read == receipt.written + receipt.rejected + receipt.known == receipt.written
    return pq.read_table(receipt.outputs["predictions"])
