"""Folders of `.txt` files, one review a file."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.datapipes.raw import BATCH_ROWS, MAX_REVIEW_BYTES, Groups, Item, RawBatch, TextFiles
from pipeline.datapipes.sources import COMPRESSIONS, URLS, Source, is_urls_file, layout_of, stars_of
from pipeline.errors import DataError
from schemas.reject import BadRow

READ_BYTES = 1 << 16
"""Nearly every review fits, so one read is all that its file takes."""


def text_folder(source: Source) -> Iterator[Item]:
    """Yields the lists of films first, then the reviews' names in batches."""
    reviews = []
    for name in source.files:
        if name.startswith("urls_") and is_urls_file(source.name, name):
            yield groups_file(source.name, name, (source.path / name).read_bytes())
        else:
            reviews.append(name)
    for start in range(0, len(reviews), BATCH_ROWS):
        yield TextFiles(folder=source.path, name=source.name, files=tuple(reviews[start : start + BATCH_ROWS]))


def groups_file(folder: str, name: str, content: bytes) -> Groups:
    """A list of films (`urls_neg.txt` in `folder`) as the groups of the folder of that label."""
    match = URLS.fullmatch(name)
    assert match
    return Groups(folder=f"{folder}/{match['label']}", lines=tuple(content.decode("utf-8", "replace").splitlines()))


def open_files(unit: TextFiles) -> RawBatch:
    """Reads the files of a batch. A file that vanished or may not be read ends the run: nothing must be lost silently.

    Raises:
        DataError: a file cannot be read.
    """
    names: list[str] = []
    texts: list[bytes | None] = []
    bad: list[BadRow] = []
    folder = os.fspath(unit.folder)
    for name in unit.files:
        try:
            content = _plain(f"{folder}/{name}") if name.endswith(".txt") else _other(f"{folder}/{name}")
        except (OSError, EOFError) as error:
            raise DataError(f"{folder}/{name} cannot be read: {error}. Mend or remove the file, then run again.") from error
        if len(content) > MAX_REVIEW_BYTES:
            bad.append(too_large(f"{unit.name}/{name}", 0, content))
        else:
            names.append(name)
            texts.append(content)
    return reviews_of_texts(unit.name, names, texts, bad)


def reviews_of_texts(folder: str, names: list[str], texts: list[bytes | None], bad: list[BadRow]) -> RawBatch:
    """A batch of one-review files that lie in one folder, whose place tells split, label and stars."""
    layout = layout_of(folder)
    sources = [f"{folder}/{name}" for name in names]
    return RawBatch(
        source=sources,
        row=[0] * len(names),
        text=texts,
        review_id=list(sources),
        label=[layout.label] * len(names),
        stars=[stars_of(name.split(".", 1)[0]) for name in names] if layout.split else None,
        split=[layout.split] * len(names),
        bad=bad,
    )


def too_large(source: str, row: int, content: bytes) -> BadRow:
    """The reject for a text above the limit."""
    detail = f"more than {MAX_REVIEW_BYTES:,} bytes, the most that one review may have"
    return BadRow(source=source, row=row, reason="too_large", detail=detail, excerpt=content[:800])


def _plain(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = os.read(descriptor, READ_BYTES)
        if len(content) < READ_BYTES:
            return content
        parts = [content]
        while sum(map(len, parts)) <= MAX_REVIEW_BYTES and (part := os.read(descriptor, MAX_REVIEW_BYTES)):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _other(path: str) -> bytes:
    compression = COMPRESSIONS.get(os.path.splitext(path)[1])
    if compression is None:  # .TXT, say
        return _plain(path)
    if compression == "gzip":
        with gzip.open(path) as stream:
            return stream.read(MAX_REVIEW_BYTES + 1)
    with pa.input_stream(Path(path), compression=compression) as stream:
        return bytes(stream.read(MAX_REVIEW_BYTES + 1))
