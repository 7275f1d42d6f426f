"""Folders of `.txt` files, one review a file."""

import os
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.printable import utf8_name
from pipeline.readers.base import BATCH_ROWS, FileFault, Source
from pipeline.readers.bounds import Bounds, beyond
from pipeline.readers.layout import URLS, is_urls_file, layout_of, stars_of
from pipeline.readers.opening import READ_ERRORS, fault_of, opened
from pipeline.readers.registry import COMPRESSIONS
from pipeline.readers.reviews import Groups, Item, RawBatch, TextFiles, too_large
from pipeline.readers.values import constant
from pipeline.text.columns import name_numbers, text_buffers
from pipeline.text.kernels import read_files

SAMPLED = 16
"""One file in so many is looked at before a batch is read."""
SHORT_TEXTS = 8
"""Texts of so many times the average that a full batch allows are still short."""
MOST_BYTES = 2**31 - 1
"""Bytes of an Arrow array of texts, whose offsets are int32."""
USUAL_RATIO = 8
"""Compressed texts are taken for so many times their size."""
BOMS = {BOM_UTF8: "utf-8", BOM_UTF16_LE: "utf-16-le", BOM_UTF16_BE: "utf-16-be"}
BOM_PAIRS = np.array([mark[0] << 8 | mark[1] for mark in BOMS], np.uint16)


def text_folder(source: Source, bounds: Bounds) -> Iterator[Item]:
    """Yields the lists of films first, then the reviews' names in batches of bounded bytes."""
    names = source.files
    # A search in one string: there may be a million names.
    lists = [name for name in names if is_urls_file(source.name, name)] if "urls_" in source.listing else []
    for name in lists:
        yield _list_of_films(source, name, bounds.films)
    if lists:
        names = [name for name in names if name not in lists]
    place = utf8_name(os.path.realpath(source.path))
    for some in _batches(source, names, bounds):
        yield TextFiles(folder=source.path, name=source.name, place=place, files=tuple(some), bounds=bounds)


def _batches(source: Source, names: list[str], bounds: Bounds) -> Iterator[list[str]]:
    """The names in batches: of so many files, and of so many bytes as far as they will be read.

    Each file's size is looked up only where a sample says that it matters: for short texts that alone would take as long
    as splitting them into words. It always does where `--max-value-bytes` allows more than an Arrow array can hold.
    """
    is_holdable = (bounds.value + 1) * BATCH_ROWS <= MOST_BYTES
    start = 0
    while start < len(names):
        some = names[start : start + BATCH_ROWS]
        sizes = [_size(f"{source.path}/{name}") for name in some[::SAMPLED]]
        if is_holdable and max(sizes) * BATCH_ROWS <= bounds.batch * SHORT_TEXTS:
            some = some[: max(1, bounds.batch * len(sizes) // max(1, sum(sizes)))]
            yield some
        else:
            yield from _batches_by_size(source, some, bounds)
        start += len(some)


def _batches_by_size(source: Source, names: list[str], bounds: Bounds) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for name in names:
        batch.append(name)
        size += min(_size(f"{source.path}/{name}"), bounds.value)
        if size >= bounds.batch:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _size(path: str) -> int:
    """A file's bytes as far as they can be known before it is opened."""
    try:
        size = os.stat(path).st_size  # noqa: PTH116  # a Path for each of a million files takes its time
    except OSError:
        return 0  # whoever opens it says what is wrong with it
    return size if path.endswith(".txt") else size * USUAL_RATIO


def _list_of_films(source: Source, name: str, limit: int) -> Groups:
    quoted = source.name.startswith("file:")
    place = f"{source.name}/{utf8_name(name)}"
    try:
        with (source.path / name).open("rb") as file:
            content = file.read(limit + 1)
        if len(content) <= limit:
            return groups_file(source.name, name, content, quoted=quoted)
        fault = FileFault(place, "too_large", beyond("the film list", "--max-list-bytes", limit))
    except (OSError, MemoryError) as error:
        fault = fault_of(place, "a film list", None, error)
    return Groups(folder=_folder_of(source.name, name, quoted), lines=None, fault=fault)


def groups_file(folder: str, name: str, content: bytes, *, quoted: bool = False) -> Groups:
    """A list of films (`urls_neg.txt` in `folder`) as the groups of the folder of that label, `quoted` in a URI."""
    text = content.decode("utf-8", "replace").removesuffix("\n")
    # In Arrow, because a list of nothing but line ends has a million lines a MiB.
    lines = pc.split_pattern(pa.array([text], pa.large_string()), "\n").values
    if "\r" in text:
        lines = pc.replace_substring_regex(lines, "\r$", "")
    return Groups(folder=_folder_of(folder, name, quoted), lines=lines.cast(pa.string()).dictionary_encode())


def _folder_of(folder: str, name: str, quoted: bool) -> str:
    """The folder whose reviews a list of films speaks of."""
    match = URLS.fullmatch(name)
    assert match
    label = quote(os.fsencode(match["label"])) if quoted else utf8_name(match["label"])
    return f"{folder}/{label}"


def open_files(unit: TextFiles) -> RawBatch:
    """Reads the files of a batch. One that vanished or cannot be read is a fault of its own."""
    folder = os.fspath(unit.folder)
    names, faults = list(unit.files), []
    joined = "\0".join([*names, ""])
    try:
        if joined.count(".txt\0") < len(names):
            raise OSError  # some are compressed
        texts = _plain(folder, joined, len(names), unit.bounds.value)
    except OSError:
        contents = [_content(unit.name, name, f"{folder}/{name}", unit.bounds) for name in names]
        faults = [content for content in contents if isinstance(content, FileFault)]
        names = [name for name, content in zip(names, contents, strict=True) if isinstance(content, bytes)]
        texts = pa.array([content for content in contents if isinstance(content, bytes)], pa.binary())
    batch = reviews_of_texts(unit.name, names, texts, unit.place, unit.bounds.value)
    batch.faults = faults
    for role, value in unit.told.items():
        setattr(batch, role, constant(value, len(batch.row)))
    return batch


def _content(folder: str, name: str, path: str, bounds: Bounds) -> bytes | FileFault:
    """At most one byte more than a review may have of a file, decompressed; or what is wrong with it."""
    compression = COMPRESSIONS.get(os.path.splitext(path)[1].lower())
    try:
        with opened(path, compression, bounds) as stream:
            return stream.read(bounds.value + 1)
    except READ_ERRORS as error:
        return fault_of(f"{folder}/{utf8_name(name)}", "text", compression, error)


def reviews_of_texts(folder: str, names: list[str], texts: pa.BinaryArray, place: str, limit: int) -> RawBatch:
    """A batch of one-review files that lie in one folder, whose `place` tells split, label and stars.

    `folder` is how the lake calls it. `texts` hold no nulls; those of more than `limit` bytes become rejects. A mark of the
    byte order before a text is no part of it; UTF-16 is read where it has one.
    """
    bad = []
    if not "".join(names).isascii():
        names = [utf8_name(name) for name in names]
    if _may_be_marked(texts):
        texts = pa.array([_without_mark(text) for text in texts.to_pylist()], pa.binary())
    files = pa.array(names, pa.string())
    if len(texts) and pc.max(pc.binary_length(texts)).as_py() > limit:
        fits = pc.less_equal(pc.binary_length(texts), limit)
        large = pc.indices_nonzero(pc.invert(fits)).to_pylist()
        bad = [too_large(f"{folder}/{names[i]}", 0, texts[i].as_py(), limit) for i in large]
        files, texts = files.filter(fits), texts.filter(fits)
    layout = layout_of(place)
    sources = pc.binary_join_element_wise(folder, files, "/")
    return RawBatch(
        source=sources,
        row=pa.repeat(pa.scalar(0, pa.int64()), len(files)),
        text=texts,
        review_id=sources.cast(pa.binary()),
        label=constant(layout.label, len(files)),
        stars=_stars_in(files) if layout.split else None,
        split=constant(layout.split, len(files)),
        bad=bad,
    )


def _stars_in(names: pa.StringArray) -> pa.Int32Array:
    """`stars_of` each of (N,) file names, up to its first dot."""
    if pc.all(pc.string_is_ascii(names), min_count=0).as_py():
        stars = name_numbers(names)[:, 2]
        return pa.array(stars, mask=stars <= 0)
    return pa.array([stars_of(name.split(".", 1)[0]) for name in names.to_pylist()], pa.int32())  # other digits, too


def _may_be_marked(texts: pa.BinaryArray) -> bool:
    """Whether any text begins with the first two bytes of a mark of the byte order."""
    data, bounds = text_buffers(texts)
    begins = bounds[:-1][np.diff(bounds) > 1]
    pairs = data[begins].astype(np.uint16) << 8 | data[begins + 1]
    return bool(np.isin(pairs, BOM_PAIRS).any())


def _without_mark(text: bytes) -> bytes:
    """A text as UTF-8, without the mark of the byte order; bytes that have no such form stay as they are."""
    for mark, encoding in BOMS.items():
        if text.startswith(mark):
            try:
                return text[len(mark) :].decode(encoding).encode()
            except UnicodeDecodeError:
                return text
    return text


def _plain(folder: str, names: str, count: int, limit: int) -> pa.BinaryArray:
    data, bounds = read_files(os.fsencode(folder), os.fsencode(names), limit + 1)
    offsets = np.frombuffer(bounds, np.int64).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
