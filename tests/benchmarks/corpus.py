"""Raw reviews as ingest meets them: a folder of `.txt` files in aclImdb's layout, an archive of it, one big table."""

import csv
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.reviews import archive, generated

SMOKE_REVIEWS = 600
SYNTHETIC_REVIEWS = 75_000


def write_folder(folder: Path, size: int, *, smoke: bool) -> str:
    """Fills `folder` with `size` copies of the corpus, each below a name of its own; says where the reviews come from.

    The copies are hard links: other names and other ids, the same bytes.
    """
    first = folder / "copy-00"
    source = None if smoke else archive()
    if source:
        with tarfile.open(source) as files:
            files.extractall(first, filter="data")
    else:
        _write_generated(first, SMOKE_REVIEWS if smoke else SYNTHETIC_REVIEWS)
    for number in range(1, size):
        _link(first, folder / f"copy-{number:02d}")
    reviews = sum(1 for _ in review_files(folder))
    return f"{reviews:,} files of {'the IMDb archive' if source else 'generated text'}"


def write_archive(folder: Path, path: Path) -> None:
    """The folder as a `.tar.gz`."""
    with tarfile.open(path, "w:gz", compresslevel=6) as tar:
        tar.add(folder, "reviews")


def write_csv(folder: Path, path: Path, size: int) -> int:
    """The folder's reviews as a CSV of `text` and `label`, over and over until it has `size` bytes; gives its rows."""
    reviews = [(file.read_text(encoding="utf-8"), file.parent.name) for file in review_files(folder)]
    rows = 0
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        while not rows or stream.tell() < size:
            writer.writerows(reviews)
            rows += len(reviews)
    return rows


def write_jsonl(folder: Path, path: Path, size: int) -> int:
    """The same as lines of JSON."""
    reviews = ({"text": file.read_text(encoding="utf-8"), "label": file.parent.name} for file in review_files(folder))
    lines = [json.dumps(review) + "\n" for review in reviews]
    rows = 0
    with path.open("w", encoding="utf-8") as stream:
        while not rows or stream.tell() < size:
            stream.writelines(lines)
            rows += len(lines)
    return rows


def review_files(folder: Path) -> Iterator[Path]:
    """Every review of the folder, sorted by its path; the lists of films are none."""
    return (path for path in sorted(folder.rglob("*.txt")) if not path.name.startswith("urls_"))


def _write_generated(folder: Path, count: int) -> None:
    for number, text in enumerate(generated(count, seed=0)):
        label, stars = (("neg", 2), ("pos", 9), ("unsup", 0))[number % 3]
        place = folder / "aclImdb/train" / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number // 3}_{stars}.txt").write_text(text, encoding="utf-8")


def _link(first: Path, copy: Path) -> None:
    for folder, _, names in os.walk(first):
        target = copy / Path(folder).relative_to(first)
        target.mkdir(parents=True)
        for name in names:
            os.link(f"{folder}/{name}", f"{target}/{name}")
