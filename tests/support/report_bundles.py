"""A bundle's folder as training leaves it, without a trained model: the report never looks at the weights."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake.vocabularies import write_vocabulary
from pipeline.reports.files import (
    write_evaluation,
    write_examples,
    write_lengths,
    write_token_weights,
)
from pipeline.text.vocabulary import Vocabulary
from schemas.report import EVALUATION, EXAMPLE, KEY_LABEL_ROWS, LENGTH, TOKEN_WEIGHT

METRICS = pa.schema(
    [
        ("epoch", pa.int32()),
        ("step", pa.int64()),
        ("phase", pa.string()),
        ("loss", pa.float64()),
        ("accuracy", pa.float64()),
        ("seconds", pa.float64()),
        ("tokens", pa.int64()),
    ]
)
WORDS = (
    "the",
    "and",
    "a",
    "of",
    "to",
    "is",
    "in",
    "it",
    "i",
    "this",
    "was",
    "as",
    "with",
    "film",
    "but",
    "$movie",
    "not",
    "good",
    "dull",
    "ending",
    "plot",
    "music",
    "cast",
    "café",
    "pace",
)


def write_metrics(folder: Path, rows: list[tuple[object, ...]]) -> None:
    """Writes metrics.parquet from rows in the order of the columns."""
    named = [dict(zip(METRICS.names, row, strict=True)) for row in rows]
    pq.write_table(pa.Table.from_pylist(named, METRICS), folder / "metrics.parquet")


def example_table(rows: list[tuple[str, str | None, str, float]]) -> pa.Table:
    """Rows of text, label, prediction, probability."""
    return pa.Table.from_pylist([dict(zip(EXAMPLE.schema.names, row, strict=False)) for row in rows], EXAMPLE.schema)


def evaluation_table(probabilities: dict[str, list[tuple[str, int, float]]]) -> pa.Table:
    """Scored reviews of two labels: for each split rows of review id, label and probability of the second label."""
    rows = [
        {"split": split, "review_id": name, "label": label, "length": 5 + 7 * number, "probabilities": [1 - second, second]}
        for split, scored in probabilities.items()
        for number, (name, label, second) in enumerate(scored)
    ]
    counts = {
        split: [sum(not row[1] for row in scored), sum(row[1] for row in scored)] for split, scored in probabilities.items()
    }
    counts["train"] = [900, 600]
    return pa.Table.from_pylist(rows, EVALUATION.schema).replace_schema_metadata(
        {KEY_LABEL_ROWS: json.dumps(counts).encode()}
    )


def leaning(rows: int, right: float, seed: int = 0, prefix: str = "r") -> list[tuple[str, int, float]]:
    """Reviews of both labels whose probabilities are right with the chance `right`."""
    random = np.random.default_rng(seed)
    labels = (np.arange(rows) % 3 > 0).astype(int)
    sure = 0.5 + random.random(rows) / 2
    good = random.random(rows) < right
    second = np.where(good == (labels == 1), sure, 1 - sure)
    return [
        (f"{prefix}{number}", int(label), float(p)) for number, (label, p) in enumerate(zip(labels, second, strict=True))
    ]


def _bell(scale: int) -> list[int]:
    return [0] * 20 + [int(scale * 2.718 ** (-(((n - 200) / 130) ** 2))) for n in range(20, 1200)]


def lengths_table(counts: Mapping[str, Iterable[int]]) -> pa.Table:
    """Lengths as lengths.parquet holds them, from each split's `bincount`: entry n is the number of reviews of n tokens."""
    rows = [
        {"split": split, "length": length, "count": int(count)}
        for split in sorted(counts)
        for length, count in enumerate(counts[split])
        if count
    ]
    return pa.Table.from_pylist(rows, schema=LENGTH.schema)


def make_bundle(parent: Path, name: str = "20260131T040000Z-bilstm-1a2b3c", created: str = "2026-01-31T04:17:00Z") -> Path:
    """Six epochs of a binary model, its scored reviews, lengths, token weights and four examples, one of them wrong."""
    folder = parent / name
    folder.mkdir()
    tokens = ["<pad>", "<unk>", *WORDS]
    counts = [0, 0, *(334_691 // (n + 1) for n in range(len(WORDS)))]
    options = {"max_vocab": 30000, "min_count": 1}
    columns = pa.array(tokens, pa.string()), pa.array(counts, pa.int64())
    vocabulary = Vocabulary(*columns, "basic_english", ("neg", "pos"), options)
    write_vocabulary(vocabulary, folder / "vocabulary.parquet")
    rows: list[tuple[object, ...]] = []
    losses = ((0.69, 0.66), (0.52, 0.47), (0.34, 0.36), (0.22, 0.33), (0.14, 0.35), (0.09, 0.41))
    for epoch, (train, valid) in enumerate(losses, 1):
        rows.append((epoch, epoch * 293, "train", train, 1 - train / 1.4, 61.2 + epoch, 4_400_000))
        rows.append((epoch, epoch * 293, "valid", valid, 0.92 - valid / 2.5, 7.3, 1_400_000))
    rows.append((4, 4 * 293, "test", 0.345, 0.8812, 29.0, 5_800_000))
    write_metrics(folder, rows)
    description = {
        "version": 1,
        "arch": "bilstm",
        "parameters": 3_142_210,
        "labels": ["neg", "pos"],
        "tokenizer": "basic_english",
        "max_length": 400,
        "model_config": {"vocab_size": 30000, "num_classes": 2, "embedding_dim": 100, "hidden_dim": 128, "dropout": 0.5},
        "training": {"epochs": 6, "lr": 0.001, "seed": 0, "resume": False, "config": None},
        "metrics": {"valid_loss": 0.33},
        "vocabulary": vocabulary.fingerprint,
        "table_version": 3,
        "created": created,
        "weights_sha256": "ab" * 32,
    }
    (folder / "model.json").write_text(json.dumps(description))
    scales = {"train": 90, "valid": 30, "test": 110}
    write_lengths(folder, lengths_table({split: _bell(scale) for split, scale in scales.items()}))
    rows_of_examples = [
        ("The plot was not dull, and the <b>cast</b> is brilliant;<br />I call it gripping! " * 3, "pos", "pos", 0.987),
        ("It starts sharp but the end is utterly dull.", "neg", "neg", 0.979),
        ("This is anything but boring.", "pos", "neg", 0.69),
        ("Half of it is warm, half of it is cold. " * 40, None, "pos", 0.52),
    ]
    examples = example_table(list(rows_of_examples)).to_pylist()
    for example, kind in zip(examples, ("right", "right", "wrong", "unsure"), strict=True):
        words = [("dull", 0.9), ("but", -0.3), ("a-very-long-token-" * 5, 0.2)]
        weights = [{"token": token, "position": n, "weight": weight} for n, (token, weight) in enumerate(words)]
        example |= {"kind": kind, "explanation": weights}
    write_examples(folder, pa.Table.from_pylist(examples, EXAMPLE.schema))
    write_evaluation(folder, evaluation_table({"valid": leaning(300, 0.8, prefix="v"), "test": leaning(400, 0.85)}))
    pulls = [
        {"label": label, "token": token, "weight": 0.4 - 0.02 * n, "reviews": 40 - n}
        for label, words in (("neg", "dull worst $movie"), ("pos", "good fine café"))
        for n, token in enumerate(words.split())
    ]
    write_token_weights(folder, pa.Table.from_pylist(pulls, TOKEN_WEIGHT.schema))
    return folder
