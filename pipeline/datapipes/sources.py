"""Where raw reviews are: from what the user names to a sorted list of sources, each with its kind and compression."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.lake.atomic import PREFIX
from pipeline.lake.paths import Lake

log = logging.getLogger(__name__)

TEXTS, ARCHIVE, CSV, TSV, JSONL, PARQUET = "texts", "archive", "csv", "tsv", "jsonl", "parquet"

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
KINDS = {".csv": CSV, ".tsv": TSV, ".jsonl": JSONL, ".ndjson": JSONL, ".parquet": PARQUET, ".tar": ARCHIVE, ".txt": TEXTS}
SHORT_NAMES = {".tgz": ".tar.gz", ".tbz2": ".tar.bz2"}

SPLIT_FOLDERS = {"train": "train", "test": "test", "valid": "valid", "val": "valid", "dev": "valid"}
"""Folder names that tell a split, as aclImdb lays reviews out: SPLIT/LABEL/N_STARS.txt."""

URLS = re.compile(r"urls_(?P<label>[^/]+)\.txt")
"""aclImdb's `urls_neg.txt` beside `neg/`: line N names the film of review N."""
STARS = re.compile(r"\d{1,9}_(\d{1,3})")
HIDDEN = (".", PREFIX)
SIDE_FILES = {"imdbEr.txt"}
"""Text files of aclImdb that are no reviews."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file, or all the `.txt` files of one folder (`files`). `name` is how the lake calls it."""

    path: Path
    name: str
    kind: str
    compression: str | None = None
    listing: str = field(default="", repr=False)
    """The names of the files with slashes between them: a fifth of what a million strings take."""

    @property
    def files(self) -> list[str]:
        """Names of the `.txt` files of the folder, sorted."""
        return self.listing.split("/") if self.listing else []


@dataclass(frozen=True, slots=True)
class Layout:
    """What the place of a `.txt` file tells: `SPLIT/LABEL/N_STARS.txt`; None where it does not."""

    split: str | None = None
    label: str | None = None


def layout_of(folder: str) -> Layout:
    """Split and label of a folder (with slashes) of reviews; the label of `unsup` is None, and its split `unsup`."""
    parts = folder.rsplit("/", 2)
    split = SPLIT_FOLDERS.get(parts[-2]) if len(parts) >= 2 else None
    if split is None:
        return Layout()
    return Layout("unsup", None) if parts[-1] == "unsup" else Layout(split, parts[-1])


def stars_of(stem: str) -> int | None:
    """Stars in a file name of aclImdb: `12_8` tells 8; unlabelled reviews carry 0, which means none."""
    match = STARS.fullmatch(stem)
    return int(match[1]) or None if match else None


def is_urls_file(folder: str, name: str) -> bool:
    """Whether a text file is a list of films rather than a review."""
    return name.startswith("urls_") and folder.rsplit("/", 1)[-1] in SPLIT_FOLDERS and URLS.fullmatch(name) is not None


def find_sources(given: Sequence[str | Path], lake: Lake) -> list[Source]:
    """Every source below the given files and folders (default: the lake's `raw/`), sorted, each once.

    Raises:
        InputNotFoundError: a path is not there, or nothing to read was found.
        UsageError: a file of a kind that is not read.
        DataError: a folder cannot be read.
    """
    roots = [Path(item).expanduser() for item in given] or [lake.raw]
    sources: dict[Path, Source] = {}
    for root in roots:
        if not root.exists():
            raise InputNotFoundError(
                f"no such file or folder: {root}. Name files or folders that exist, or drop reviews into {lake.raw}."
            )
        for source in _walk(root.resolve(), lake) if root.is_dir() else [_file(root.resolve(), lake)]:
            known = sources.get(source.path)
            if known:
                source = replace(source, listing="/".join(sorted({*source.files, *known.files})))
            sources[source.path] = source
    if not sources:
        raise InputNotFoundError(
            f"no reviews in {', '.join(map(str, roots))}. Read are {_allowed()}. "
            "Put some there; 'pipeline sample' makes a small corpus, 'pipeline fetch imdb' gets the real one."
        )
    return [sources[path] for path in sorted(sources)]


def kind_of(name: str) -> tuple[str, str | None] | None:
    """Kind and compression by the file's name; None for names that are not read."""
    if name.endswith(".txt"):
        return TEXTS, None
    name = name.lower()
    for short, full in SHORT_NAMES.items():
        if name.endswith(short):
            name = name.removesuffix(short) + full
    stem, suffix = os.path.splitext(name)
    compression = COMPRESSIONS.get(suffix)
    if compression:
        suffix = os.path.splitext(stem)[1]
    kind = KINDS.get(suffix)
    return (kind, compression) if kind else None


def _file(path: Path, lake: Lake) -> Source:
    found = kind_of(path.name)
    if found is None:
        raise UsageError(f"{path}: files of this kind are not read. Read are {_allowed()}.")
    kind, compression = found
    if kind == PARQUET and compression:
        raise UsageError(f"{path}: Parquet compresses itself and is read as it is; unpack the file first.")
    if kind == TEXTS:
        return Source(path=path.parent, name=lake.relative(path.parent), kind=TEXTS, listing=path.name)
    return Source(path=path, name=lake.relative(path), kind=kind, compression=compression)


def _walk(root: Path, lake: Lake) -> Iterator[Source]:
    skipped = 0
    visited: set[tuple[int, int]] = set()
    pending = [root]
    while pending:
        folder = pending.pop()
        folders, names, odd = _entries(folder, visited)
        pending += sorted(folders, reverse=True)
        # A comprehension of its own, because there may be a million of them.
        texts = [name for name in names if name.endswith(".txt") and name not in SIDE_FILES]
        skipped += odd
        for name in names:
            if name.endswith(".txt"):
                continue
            kind = kind_of(name)
            if kind is None or (kind[0] == PARQUET and kind[1]):
                skipped += 1
            elif kind[0] == TEXTS:
                texts.append(name)
            else:
                yield _file(folder / name, lake)
        if texts:
            texts.sort()
            yield Source(path=folder, name=lake.relative(folder), kind=TEXTS, listing="/".join(texts))
    if skipped:
        log.info("%s: %d files of kinds that are not read were passed over", root, skipped)


def _entries(folder: Path, visited: set[tuple[int, int]]) -> tuple[list[Path], list[str], int]:
    """The folders in a folder, names of its files, and how much else is there; nothing where it was `visited`.

    Raises:
        DataError: it cannot be read.
    """
    folders: list[Path] = []
    names: list[str] = []
    odd = 0
    try:
        status = folder.stat()
        place = (status.st_dev, status.st_ino)
        if place in visited:
            return [], [], 0
        visited.add(place)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(HIDDEN):
                    continue
                # The entry itself tells what it is; only a link asks the disk.
                if entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
                elif (path := Path(entry)).is_dir():
                    folders.append(path)
                elif path.is_file() or not path.exists():
                    names.append(entry.name)  # a link that leads nowhere is found out when it is opened
                else:
                    odd += 1
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be read: {error.strerror}. Check its permissions, or leave it out by a name that "
            "begins with a dot. Nothing was ingested."
        ) from error
    return folders, names, odd


def _allowed() -> str:
    return ".txt, .csv, .tsv, .jsonl, .tar (each also .gz, .zst, .bz2) and .parquet"
