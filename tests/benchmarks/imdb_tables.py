"""The labelled IMDb reviews as tables with other labels, for the benchmarks of accuracy.

    python tests/benchmarks/imdb_tables.py ARCHIVE.tar.gz FOLDER

Writes into FOLDER, from the training split of the archive (Maas et al. 2011):

    stars.parquet        all reviews, labelled with their stars: eight classes, 1 to 4 and 7 to 10
    imbalanced.parquet   all positive reviews and each twentieth as many negative ones, chosen by the hash of their names

Columns: id, text, label, group (the film). Ingest one with --id-column id --label-column label --group-column group.
"""

import argparse
import hashlib
import re
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NAME = re.compile(r"train/(neg|pos)/(\d+)_(\d+)\.txt$")
RARE = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    rows = read_reviews(options.archive)
    options.folder.mkdir(parents=True, exist_ok=True)
    _write(options.folder / "stars.parquet", rows, "stars")
    positive = [row for row in rows if row["side"] == "pos"]
    negative = sorted((row for row in rows if row["side"] == "neg"), key=lambda row: _hash(row["id"]))
    chosen = negative[: len(positive) // RARE]
    _write(options.folder / "imbalanced.parquet", sorted(positive + chosen, key=lambda row: row["id"]), "side")


def read_reviews(archive: Path) -> list[dict]:
    """The labelled training reviews in the order of their ids: id, text, side, number, stars and group."""
    rows, films = _read(archive)
    for row in rows:
        row["group"] = films[row["side"]][row["number"]]
    return sorted(rows, key=lambda row: row["id"])


def _read(archive: Path) -> tuple[list[dict], dict[str, list[str]]]:
    """The reviews, and for each side the film of review N in line N."""
    rows, films = [], {}
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            name = member.name
            if name.endswith(("train/urls_neg.txt", "train/urls_pos.txt")):
                films[name[-7:-4]] = tar.extractfile(member).read().decode().split()
            elif match := NAME.search(name):
                text = tar.extractfile(member).read().decode()
                side, number, stars = match[1], int(match[2]), match[3]
                rows.append({"id": f"{side}/{number}", "text": text, "side": side, "number": number, "stars": stars})
    return rows, films


def _write(path: Path, rows: list[dict], label: str) -> None:
    columns = {name: [row[name] for row in rows] for name in ("id", "text", "group")}
    pq.write_table(pa.table({**columns, "label": [row[label] for row in rows]}), path)
    print(f"{path}: {len(rows):,} reviews")


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


if __name__ == "__main__":
    main()
