"""Token shards for tests, written with pyarrow under the token contract: random words and a few informative ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake.vocabularies import write_vocabulary
from pipeline.text.vocabulary import Vocabulary
from schemas.token import TOKEN, WITHOUT_TARGET, token_metadata


@dataclass(frozen=True)
class Corpus:
    """`shards`: the folder for --tokens."""

    shards: Path
    vocabulary: Vocabulary
    vocabulary_file: Path


def write_corpus(
    folder: Path,
    rows: int = 600,
    *,
    test_rows: int = 0,
    unsup_rows: int = 0,
    row_groups: Sequence[int] = (100,),
    shard_groups: int = 3,
    words: int = 200,
    mean_length: int = 20,
    labels: tuple[str, ...] = ("neg", "pos"),
    group_size: int = 4,
    only_label: int | None = None,
    seed: int = 0,
) -> Corpus:
    """Writes shards whose row groups have the sizes `row_groups`, in turn. Token `2 + label` mostly gives the label. In
    `unsup` there are no labels, but the content hash gives them."""
    tokens = ["<pad>", "<unk>", *(f"w{number}" for number in range(words - 2))]
    vocabulary = Vocabulary(
        tokens=pa.array(tokens),
        counts=pa.array([0, 0] + [1] * (words - 2), pa.int64()),
        tokenizer="basic_english",
        labels=labels,
    )
    path = folder / "vocabulary" / f"{vocabulary.fingerprint}.parquet"
    write_vocabulary(vocabulary, path)
    shards = folder / "shards"
    shards.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for split, total in (("train", rows), ("test", test_rows), ("unsup", unsup_rows)):
        sizes = group_sizes(total, row_groups)
        first = 0
        for shard in range(0, len(sizes), shard_groups):
            _write_shard(
                shards / f"{split}-{shard:04d}.parquet",
                split,
                first,
                sizes[shard : shard + shard_groups],
                vocabulary,
                random,
                mean_length,
                group_size,
                only_label,
            )
            first += sum(sizes[shard : shard + shard_groups])
    return Corpus(shards, vocabulary, path)


def group_sizes(total: int, row_groups: Sequence[int]) -> list[int]:
    """Cuts `total` rows into row groups of the given sizes, in turn."""
    sizes: list[int] = []
    while sum(sizes) < total:
        sizes.append(min(row_groups[len(sizes) % len(row_groups)], total - sum(sizes)))
    return sizes


def _write_shard(
    path: Path,
    split: str,
    first: int,
    sizes: Sequence[int],
    vocabulary: Vocabulary,
    random: np.random.Generator,
    mean_length: int,
    group_size: int,
    only_label: int | None,
) -> None:
    schema = WITHOUT_TARGET.with_metadata(token_metadata(vocabulary.fingerprint))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for size in sizes:
            lengths = np.clip(random.gamma(2.0, mean_length / 2, size).astype(int), 3, 10 * mean_length)
            labels = random.integers(0, len(vocabulary.labels), size) if only_label is None else np.full(size, only_label)
            ids = []
            for length, label in zip(lengths, labels, strict=True):
                review = random.integers(2 + len(vocabulary.labels), len(vocabulary), length)
                telling = random.integers(0, length, max(2, length // 8))
                review[telling] = 2 + label
                ids.append(review.astype(np.int32))
            rows = range(first, first + size)
            columns = {
                "review_id": [f"{split}/{row}" for row in rows],
                "ids": pa.array(ids, TOKEN.schema.field("ids").type),
                "label": pa.nulls(size, pa.int32()) if split == "unsup" else pa.array(labels.astype(np.int32)),
                "stars": pa.array(
                    [1 + 6 * label + row % 3 for row, label in zip(rows, labels.tolist(), strict=True)], pa.int32()
                ),
                "split": [split] * size,
                "group": [f"film {row // group_size}" for row in rows],
                "source": ["test"] * size,
                "row": list(rows),
                "content_sha256": [str(label) for label in labels],
            }
            writer.write_table(pa.table(columns, schema=schema), row_group_size=size)
            first += size
