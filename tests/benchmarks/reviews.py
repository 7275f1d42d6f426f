"""Raw reviews for the benchmarks: the IMDb archive's labelled ones where it is at hand, else generated text."""

import os
import random
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.harness import ROOT

ARCHIVE_VARIABLE = "IMDB_ARCHIVE"
LABELS = ("neg", "pos")


def archive() -> Path | None:
    """The archive of the environment's IMDB_ARCHIVE, else of shared/data beside the checkout; None when there is none."""
    named = os.environ.get(ARCHIVE_VARIABLE)
    places = [Path(named)] if named else [parent / "shared/data/imdb-train.tar.gz" for parent in ROOT.parents]
    return next((place for place in places if place.is_file()), None)


def write_reviews(path: Path, rows: int, seed: int = 0) -> str:
    """Writes `rows` reviews, shuffled, with three other columns, repeated as needed; says where they come from."""
    source = archive()
    reviews = texts(min(rows, 25_000), seed)
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("stars", pa.int8()), ("at", pa.timestamp("s"))])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for begin in range(0, rows, 8192):
            numbers = range(begin, min(begin + 8192, rows))
            columns = [
                pa.array([f"review-{number}" for number in numbers]),
                pa.array([reviews[number % len(reviews)] for number in numbers]),
                pa.array([number % 10 for number in numbers], pa.int8()),
                pa.array(numbers, pa.timestamp("s")),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return f"{rows:,} reviews of {'the IMDb archive' if source else 'generated text'}"


def texts(count: int, seed: int = 0) -> list[str]:
    """The archive's labelled reviews, shuffled, or so many generated ones."""
    source = archive()
    found = _archived(source) if source else generated(count, seed)
    random.Random(seed).shuffle(found)
    return found


def _archived(path: Path) -> list[str]:
    texts = []
    with tarfile.open(path) as files:
        for member in files:
            if member.name.endswith(".txt") and Path(member.name).parent.name in LABELS:
                content = files.extractfile(member)
                assert content is not None
                texts.append(content.read().decode())
    return texts


def generated(count: int, seed: int) -> list[str]:
    """Words of Zipf-like frequency; lengths around 230 tokens with a long tail, as IMDb's are."""
    generator = random.Random(seed)
    words = ["".join(generator.choices("abcdefghijklmnoprstuvwy", k=generator.randint(2, 9))) for _ in range(30_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    lengths = [int(min(2000, max(10, generator.lognormvariate(5.2, 0.65)))) for _ in range(count)]
    pool = generator.choices(words, weights, k=sum(lengths))
    texts, begin = [], 0
    for length in lengths:
        texts.append(" ".join(pool[begin : begin + length]) + ".")
        begin += length
    return texts
