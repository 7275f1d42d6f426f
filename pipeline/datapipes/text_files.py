"""Folders of `.txt` files, one review a file."""

import gzip
import os
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from itertools import compress
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datapipes.raw import BATCH_ROWS, EXCERPT_BYTES, MAX_REVIEW_BYTES, Groups, Item, RawBatch, TextFiles, opened
from pipeline.datapipes.sources import COMPRESSIONS, URLS, Source, is_urls_file, layout_of, stars_of
from pipeline.errors import DataError
from pipeline.printable import utf8_name
from pipeline.text.kernels import read_files
from schemas.reject import BadRow


def text_folder(source: Source) -> Iterator[Item]:
    """Yields the lists of films first, then the reviews' names in batches."""
    reviews = []
    for name in source.files:
        if is_urls_file(source.name, name):
            path = source.path / name
            try:
                content = path.read_bytes()
            except OSError as error:
                raise DataError(_unreadable(os.fspath(path), error)) from error
            yield groups_file(source.name, name, content, quoted=source.name.startswith("file:"))
        else:
            reviews.append(name)
    for start in range(0, len(reviews), BATCH_ROWS):
        yield TextFiles(folder=source.path, name=source.name, files=tuple(reviews[start : start + BATCH_ROWS]))


def groups_file(folder: str, name: str, content: bytes, *, quoted: bool = False) -> Groups:
    """A list of films (`urls_neg.txt` in `folder`) as the groups of the folder of that label, `quoted` in a URI."""
    match = URLS.fullmatch(name)
    assert match
    label = quote(os.fsencode(match["label"])) if quoted else utf8_name(match["label"])
    lines = content.decode("utf-8", "replace").removesuffix("\n").split("\n")
    groups = pa.array([line.removesuffix("\r") for line in lines], pa.string()).dictionary_encode()
    return Groups(folder=f"{folder}/{label}", lines=groups)


def open_files(unit: TextFiles) -> RawBatch:
    """Reads the files of a batch. A file that vanished or may not be read ends the run: nothing must be lost silently.

    Raises:
        DataError: a file cannot be read.
    """
    folder = os.fspath(unit.folder)
    paths = [f"{folder}/{name}" for name in unit.files]
    try:
        if all(name.endswith(".txt") for name in unit.files):
            texts = _plain(paths)
        else:
            texts = pa.array(map(_maybe_compressed, paths), pa.binary())
    except OSError as error:
        raise DataError(_unreadable(os.fsdecode(error.filename), error)) from error
    return reviews_of_texts(unit.name, list(unit.files), texts, utf8_name(os.path.realpath(folder)))


def reviews_of_texts(folder: str, names: list[str], texts: pa.BinaryArray, place: str) -> RawBatch:
    """A batch of one-review files that lie in one folder, whose `place` tells split, label and stars.

    `folder` is how the lake calls it. `texts` hold no nulls; those above the limit become rejects. A mark of the byte order
    before a text is no part of it.
    """
    bad = []
    names = [utf8_name(name) for name in names]
    if pc.any(pc.starts_with(texts, BOM_UTF8)).as_py():
        texts = pa.array([text.removeprefix(BOM_UTF8) for text in texts.to_pylist()], pa.binary())
    if len(texts) and pc.max(pc.binary_length(texts)).as_py() > MAX_REVIEW_BYTES:
        fits = pc.less_equal(pc.binary_length(texts), MAX_REVIEW_BYTES)
        kept = fits.to_pylist()
        bad = [too_large(f"{folder}/{names[i]}", 0, texts[i].as_py()) for i, fit in enumerate(kept) if not fit]
        names, texts = list(compress(names, kept)), texts.filter(fits)
    layout = layout_of(place)
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
    return BadRow(source=source, row=row, reason="too_large", detail=detail, excerpt=content[:EXCERPT_BYTES])


def _unreadable(path: str, error: Exception) -> str:
    return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}. Mend or remove the file, then run again."


def _plain(paths: list[str]) -> pa.BinaryArray:
    data, bounds = read_files(list(map(os.fsencode, paths)), MAX_REVIEW_BYTES + 1)
    offsets = np.frombuffer(bounds, np.int64).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(paths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _maybe_compressed(path: str) -> bytes:
    compression = COMPRESSIONS.get(os.path.splitext(path)[1].lower())
    try:
        if compression == "gzip":
            with gzip.open(path) as file:
                return file.read(MAX_REVIEW_BYTES + 1)
        with opened(path, compression) as stream:
            return bytes(stream.read(MAX_REVIEW_BYTES + 1))
    except (OSError, EOFError, pa.ArrowInvalid, zlib.error) as error:
        raise DataError(_unreadable(path, error)) from error
