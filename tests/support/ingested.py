"""Ingests small files, and reads back what the lake then holds."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs.ingest import run
from pipeline.config.ingest import IngestConfig
from pipeline.lake.table import TokenTable
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.readers.limits import Limit
from schemas.run import Receipt

Row = dict[str, Any]


def ingest(lake: Path, *sources: Path, **options: Any) -> Receipt:
    """Ingests; tables of a few rows may be as bad as they like."""
    options = {"max_bad": Limit(share=1.0), **options}
    return run(IngestConfig(lake=lake, sources=tuple(map(str, sources)), **options))


def rows_of(lake: Path) -> list[Row]:
    table = TokenTable.open(lake / "tokens")
    return [row for shard in table.shards for row in pq.read_table(shard.path).to_pylist()]


def texts_of(lake: Path) -> dict[str, str]:
    """Review id → decoded tokens."""
    vocabulary = read_vocabulary(lake / "vocabulary" / f"{TokenTable.open(lake / 'tokens').vocabulary}.parquet")
    return {row["review_id"]: " ".join(vocabulary.tokens[i].as_py() for i in row["ids"]) for row in rows_of(lake)}


def rejects_of(receipt: Receipt) -> list[tuple[int, str]]:
    return [(row["row"], row["reason"]) for row in pq.read_table(receipt.outputs["rejects"]).to_pylist()]


def left_out(receipt: Receipt) -> list[tuple[str, str]]:
    """Names and reasons of the files that were left out whole."""
    rows = pq.read_table(receipt.outputs["rejects"]).to_pylist()
    return [(row["source"].rpartition("/")[2], row["reason"]) for row in rows if row["row"] == -1]


def files_of(lake: Path) -> dict[str, bytes]:
    folders = [lake / "tokens", lake / "vocabulary", lake / "rejects"]
    return {str(p.relative_to(lake)): p.read_bytes() for f in folders for p in sorted(f.glob("*.parquet"))}
