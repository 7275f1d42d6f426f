"""Tar and zip archives of `.txt` files: nothing is unpacked to the disk, and members are read in their order."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from tarfile import TarError

import pyarrow as pa

from pipeline.printable import utf8_name
from pipeline.progress import AS_IT_IS
from pipeline.readers.base import BATCH_ROWS, INSIDE, FileFault, Source
from pipeline.readers.bounds import Bounds, beyond
from pipeline.readers.layout import SIDE_FILES, is_hidden, is_urls_file
from pipeline.readers.opening import READ_ERRORS, fault_of, opened
from pipeline.readers.ratio import ExpansionError
from pipeline.readers.registry import format_of
from pipeline.readers.reviews import Item, RawBatch
from pipeline.readers.tar_members import OversizedError, Unusual, members
from pipeline.readers.text_files import groups_file, reviews_of_texts
from pipeline.readers.walk import NAMED
from pipeline.readers.zip_members import DirectoryError, EncryptedError, ZipMember, zip_members
from schemas.reject import BadRow

log = logging.getLogger(__name__)

Content = memoryview | Unusual | ZipMember
"""What a member holds: all bytes of a regular file, or what is to be asked."""


def archive(source: Source, bounds: Bounds) -> Iterator[Item]:
    """Yields the reviews of an archive in batches of one folder each, and its lists of films wherever they stand.

    Raises:
        FileFault: the archive is damaged or cut short, or holds files, but no `.txt`.
    """
    folder: str | None = None
    names: list[str] = []
    texts: list[bytes] = []
    bad: list[BadRow] = []
    size = 0
    for member, content in _members(source, bounds):
        inner, _, name = member.rpartition("/")
        outer = f"{source.name}{INSIDE}{inner}"
        if content is not None and is_urls_file(outer, name):
            yield groups_file(outer, name, content)
            continue
        if outer != folder or len(names) + len(bad) >= BATCH_ROWS or size >= bounds.batch:
            if folder is not None:
                yield _batch(folder, names, texts, bad, bounds)
            folder, names, texts, bad, size = outer, [], [], [], 0
        if content is None:
            detail = "a link to another member or file; links are not followed"
            bad.append(BadRow(source=f"{outer}/{name}", row=0, reason="link", detail=detail))
            continue
        names.append(name)
        texts.append(content)
        size += len(content)
    if folder is not None:
        yield _batch(folder, names, texts, bad, bounds)


def _batch(folder: str, names: list[str], texts: list[bytes], bad: list[BadRow], bounds: Bounds) -> RawBatch:
    batch = reviews_of_texts(folder, names, pa.array(texts, pa.binary()), folder.partition(INSIDE)[2], bounds.value)
    batch.bad += bad
    return batch


def _members(source: Source, bounds: Bounds) -> Iterator[tuple[str, bytes | None]]:
    """Names of the `.txt` members with what they hold: None for links."""
    others, tables = _Passed(), _Passed()
    texts = 0
    try:
        with _opened(source, bounds) as contents:
            for name, content in contents:
                name = utf8_name(name.removeprefix("./"))
                if name.rpartition("/")[2] in SIDE_FILES or is_hidden(name):
                    continue
                if not _is_review(name):
                    if isinstance(content, memoryview) or content.is_file:
                        (tables if format_of(name) else others).add(name)
                    continue
                texts += 1
                if isinstance(content, memoryview) or content.is_file:
                    yield name, _read(name, content, bounds)
                elif content.is_link:
                    yield name, None
    except FileFault:
        raise
    except OversizedError as error:
        raise FileFault(source.name, "too_large", str(error)) from error
    except RecursionError as error:
        detail = "the archive is damaged: extended headers follow each other without a member. Get a new copy"
        raise FileFault(source.name, "damaged", detail) from error
    except (MemoryError, ExpansionError, EncryptedError, DirectoryError) as error:
        raise fault_of(source.name, source.format, source.compression, error) from error
    except (TarError, *READ_ERRORS) as error:
        detail = f"the archive is damaged or truncated: {error}. Get a new copy"
        raise FileFault(source.name, "damaged", detail) from error
    _say_passed_over(source, texts, tables, others)


@contextmanager
def _opened(source: Source, bounds: Bounds) -> Iterator[Iterator[tuple[str, Content]]]:
    if source.format == "zip":
        with zip_members(source.path, bounds) as contents:
            yield contents
    else:
        with opened(source.path, source.compression, bounds) as stream:
            yield members(stream, bounds)


def _read(name: str, content: Content, bounds: Bounds) -> bytes:
    """What a member holds: a list of films whole, and of a review at most one byte more than it may have."""
    is_list = name.rpartition("/")[2].startswith("urls_") and is_urls_file(*name.rpartition("/")[::2])
    size = len(content) if isinstance(content, memoryview) else content.size
    if is_list and size > bounds.films:
        raise OversizedError(beyond(f"the film list {name}", "--max-list-bytes", bounds.films))
    limit = bounds.films if is_list else bounds.value + 1
    return bytes(content[:limit]) if isinstance(content, memoryview) else content.read(limit)


class _Passed:
    """Members that are not read: the first few names, and how many there are."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.count = 0

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.names) < NAMED:
            self.names.append(name)

    def __str__(self) -> str:
        rest = f" and {self.count - NAMED:,} more" if self.count > NAMED else ""
        return ", ".join(self.names) + rest


def _say_passed_over(source: Source, texts: int, tables: _Passed, others: _Passed) -> None:
    """Says which members are not read, lest the tables of an archive go without a word."""
    found = tables if tables.count else others
    if found.count and not texts:
        # What no format reads would not be read from a folder, either.
        remedy = "Unpack it and pass the folder" if tables.count else "Save the reviews as .txt files or as a CSV table"
        raise FileFault(source.name, "damaged", f"the archive contains no .txt files, but {found}. {remedy}")
    if tables.count:
        text = "%s: only .txt files are read from archives; skipped: %s. Unpack it and pass the folder to read them"
        log.warning(text, source.name, tables, extra=AS_IT_IS)


def _is_review(name: str) -> bool:
    if name.endswith(".txt"):
        return True  # without a look at the list of formats, which takes longer than reading the member
    found = format_of(name)
    return found is not None and found[0].name == "txt" and found[1] is None
