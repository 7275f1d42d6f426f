"""Large synthetic token shards for benchmarks, written as ingest writes them: zstd, row groups of 1,024 rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.token import WITHOUT_TARGET, token_metadata

WORDS, MEAN_LENGTH = 30_000, 230


def write_shards(folder: Path, rows: int, rows_per_shard: int = 16_384, mean_length: int = MEAN_LENGTH) -> None:
    """Lengths distributed like IMDb's, words by a power law, films of 20 reviews; a review's first token gives its label."""
    folder.mkdir(parents=True)
    schema = WITHOUT_TARGET.with_metadata(token_metadata("synthetic"))
    random = np.random.default_rng(0)
    for first in range(0, rows, rows_per_shard):
        count = min(rows_per_shard, rows - first)
        lengths = np.clip(random.gamma(2.2, mean_length / 2.2, count).astype(np.int64), 10, 2500)
        values = (random.random(int(lengths.sum())) ** 4 * (WORDS - 4)).astype(np.int32) + 4
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        labels = random.integers(0, 2, count).astype(np.int32)
        values[offsets[:-1]] = 2 + labels
        places = np.arange(first, first + count)
        columns = {
            "review_id": [f"r{row}" for row in places],
            "ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(values), type=WITHOUT_TARGET.field("ids").type),
            "label": labels,
            "stars": pa.nulls(count, pa.int32()),
            "split": ["train"] * count,
            "group": [f"film {row // 20}" for row in places],
            "source": ["synthetic"] * count,
            "row": places,
            "content_sha256": ["0" * 64] * count,
        }
        table = pa.table(columns, schema=schema)
        pq.write_table(table, folder / f"{first:010d}.parquet", compression="zstd", row_group_size=1024)
