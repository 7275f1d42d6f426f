"""Small pretrained models."""

from pathlib import Path

import torch

from pipeline.lake.atomic import make_folder
from pipeline.models.pretrained import Pretrained, read_pretrained, save_pretrained


def save_vectors(folder: Path, created: str = "2026-01-01", table_version: int | None = None) -> Pretrained:
    """Word vectors of two numbers for four tokens."""
    save_pretrained(
        make_folder(folder),
        {"embedding.weight": torch.zeros(4, 2)},
        objective="vectors",
        arch=None,
        model_config={"embedding_dim": 2},
        vocabulary="0" * 16,
        table_version=table_version,
        fold=None,
        holdout=0.0,
        metrics={"train_rows": 1},
        training={"objective": "vectors"},
        created=created,
    )
    return read_pretrained(folder)
