"""Tar archives of `.txt` files, streamed: nothing is unpacked to the disk, and members are read in their order."""

import logging
import tarfile
from collections.abc import Iterator
from tarfile import EmptyHeaderError, EOFHeaderError, HeaderError, ReadError  # type: ignore[attr-defined]  # two are not in its stubs
from typing import IO, Any, Self, cast

import pyarrow as pa

from pipeline.printable import utf8_name
from pipeline.progress import AS_IT_IS
from pipeline.readers.base import BATCH_ROWS, INSIDE, FileFault, Source
from pipeline.readers.bounds import DEFAULT_BOUNDS, Bounds, beyond
from pipeline.readers.layout import SIDE_FILES, is_urls_file
from pipeline.readers.opening import READ_ERRORS, ExpansionError, fault_of, opened
from pipeline.readers.registry import format_of
from pipeline.readers.reviews import Item, RawBatch
from pipeline.readers.text_files import groups_file, reviews_of_texts
from pipeline.readers.walk import HIDDEN, NAMED
from schemas.reject import BadRow

log = logging.getLogger(__name__)

EXTENDED = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)


class Archive(tarfile.TarFile):
    """An archive, or several one after the other (`cat a.tar b.tar`). `ended` is set behind a block of zeros."""

    ended = False

    def __init__(self, *arguments: Any, bounds: Bounds = DEFAULT_BOUNDS, **options: Any) -> None:
        self.bounds = bounds  # before the module reads the first header
        super().__init__(*arguments, **options)


class OversizedError(ValueError):
    """Something in the archive is larger than its bound."""


class Header(tarfile.TarInfo):
    """A member's header. Where one is damaged or missing the module would take the archive to end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        """The next header.

        Raises:
            ReadError: it is damaged, or the file ends without the block of zeros that ends an archive.
        """
        assert isinstance(tarfile, Archive)
        try:
            header = super().fromtarfile(tarfile)
        except EOFHeaderError:
            tarfile.ended = True
            raise
        except EmptyHeaderError as error:
            if tarfile.ended:
                raise
            raise ReadError("no block of zeros at its end") from error
        except HeaderError as error:
            raise ReadError(str(error) or "no header") from error
        tarfile.ended = False
        return header

    def _proc_member(self, tarfile: tarfile.TarFile) -> Self:
        assert isinstance(tarfile, Archive)
        if self.type in EXTENDED and self.size > tarfile.bounds.name:
            what = "the name or the extended header of a member"
            raise OversizedError(beyond(what, "--max-name-bytes", tarfile.bounds.name))
        return super()._proc_member(tarfile)  # type: ignore[misc, no-any-return]  # not in its stubs


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
    options: dict[str, Any] = {"bufsize": 1 << 20, "tarinfo": Header, "ignore_zeros": True, "bounds": bounds}
    try:
        with (
            opened(source.path, source.compression, bounds) as stream,
            Archive.open(fileobj=cast(IO[bytes], stream), mode="r|", **options) as tar,
        ):
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # the module keeps every header it has read, which would grow with the archive
                name = utf8_name(member.name.removeprefix("./"))
                if name.rpartition("/")[2] in SIDE_FILES or _is_hidden(name):
                    continue
                if not _is_review(name):
                    if member.isfile():
                        (tables if format_of(name) else others).add(name)
                    continue
                texts += 1
                if member.islnk() or member.issym():
                    yield name, None
                elif member.isfile():
                    content = tar.extractfile(member)
                    assert content is not None
                    is_list = is_urls_file(*name.rpartition("/")[::2])
                    if is_list and member.size > bounds.films:
                        raise OversizedError(beyond(f"the film list {name}", "--max-list-bytes", bounds.films))
                    yield name, content.read(bounds.films if is_list else bounds.value + 1)
    except FileFault:
        raise
    except OversizedError as error:
        raise FileFault(source.name, "too_large", str(error)) from error
    except RecursionError as error:
        detail = "the archive is damaged: extended headers follow each other without a member. Get a new copy"
        raise FileFault(source.name, "damaged", detail) from error
    except (MemoryError, ExpansionError) as error:
        raise fault_of(source.name, source.format, source.compression, error) from error
    except (tarfile.TarError, *READ_ERRORS) as error:
        detail = f"the archive is damaged or truncated: {error}. Get a new copy"
        raise FileFault(source.name, "damaged", detail) from error
    _say_passed_over(source, texts, tables, others)


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
        detail = f"the archive contains no .txt files, but {found}. Unpack it and pass the folder"
        raise FileFault(source.name, "damaged", detail)
    if tables.count:
        text = "%s: only .txt files are read from archives; skipped: %s. Unpack it and pass the folder to read them"
        log.warning(text, source.name, tables, extra=AS_IT_IS)


def _is_review(name: str) -> bool:
    found = format_of(name)
    return found is not None and found[0].name == "txt" and found[1] is None


def _is_hidden(name: str) -> bool:
    return any(part.startswith(HIDDEN) and part not in (".", "..") for part in name.split("/"))
