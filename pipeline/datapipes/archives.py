"""Tar archives of `.txt` files, streamed: nothing is unpacked to the disk, and members are read in their order."""

import tarfile
from collections.abc import Iterator
from tarfile import EOFHeaderError, HeaderError, ReadError  # type: ignore[attr-defined]  # the first is not in its stubs
from typing import Self

import pyarrow as pa

from pipeline.datapipes.raw import BATCH_BYTES, BATCH_ROWS, MAX_REVIEW_BYTES, Item, RawBatch, opened
from pipeline.datapipes.sources import HIDDEN, SIDE_FILES, TEXTS, Source, is_urls_file, kind_of
from pipeline.datapipes.text_files import groups_file, reviews_of_texts
from pipeline.errors import DataError
from pipeline.printable import utf8_name
from schemas.reject import BadRow

INSIDE = "!/"
"""Between an archive's name and a member's."""


class Header(tarfile.TarInfo):
    """A member's header. Where one is damaged or missing the module would take the archive to end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        """The next header.

        Raises:
            ReadError: it is damaged, or the file ends without the block of zeros that ends an archive.
        """
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:
            raise
        except HeaderError as error:
            raise ReadError(str(error) or "no header") from error


def archive(source: Source) -> Iterator[Item]:
    """Yields the reviews of an archive in batches of one folder each, and its lists of films wherever they stand.

    Raises:
        DataError: the archive is damaged or cut short.
    """
    folder: str | None = None
    names: list[str] = []
    texts: list[bytes] = []
    bad: list[BadRow] = []
    size = 0
    for member, content in _members(source):
        inner, _, name = member.rpartition("/")
        outer = f"{source.name}{INSIDE}{inner}"
        if content is not None and is_urls_file(outer, name):
            yield groups_file(outer, name, content)
            continue
        if outer != folder or len(names) + len(bad) >= BATCH_ROWS or size >= BATCH_BYTES:
            if folder is not None:
                yield _batch(folder, names, texts, bad)
            folder, names, texts, bad, size = outer, [], [], [], 0
        if content is None:
            detail = "a link to another member or file; links are not followed"
            bad.append(BadRow(source=f"{outer}/{name}", row=0, reason="link", detail=detail))
            continue
        names.append(name)
        texts.append(content)
        size += len(content)
    if folder is not None:
        yield _batch(folder, names, texts, bad)


def _batch(folder: str, names: list[str], texts: list[bytes], bad: list[BadRow]) -> RawBatch:
    batch = reviews_of_texts(folder, names, pa.array(texts, pa.binary()), folder.partition(INSIDE)[2])
    batch.bad += bad
    return batch


def _members(source: Source) -> Iterator[tuple[str, bytes | None]]:
    """Names of the `.txt` members with what they hold: None for links."""
    try:
        with (
            opened(source.path, source.compression) as stream,
            tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20, tarinfo=Header) as tar,
        ):
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # the module keeps every header it has read, which would grow with the archive
                name = utf8_name(member.name.removeprefix("./"))
                if kind_of(name) != (TEXTS, None) or name.rpartition("/")[2] in SIDE_FILES or _is_hidden(name):
                    continue
                if member.islnk() or member.issym():
                    yield name, None
                elif member.isfile():
                    content = tar.extractfile(member)
                    assert content is not None
                    # A list of films has a line for each review, so its size is bounded by the archive's own.
                    is_list = is_urls_file(*name.rpartition("/")[::2])
                    yield name, content.read() if is_list else content.read(MAX_REVIEW_BYTES + 1)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(
            f"the archive {source.path} is damaged or cut short: {error}. Nothing was ingested; fetch it again."
        ) from error


def _is_hidden(name: str) -> bool:
    return any(part.startswith(HIDDEN) and part not in (".", "..") for part in name.split("/"))
