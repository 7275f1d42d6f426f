"""The members of a tar archive, streamed.

Nearly every header of an archive is of one simple kind: a regular file with octal numbers. Those are read here, many at
once. Each other one (long names, pax, sparse files, links, the end of an archive, damage) is read by `tarfile`, which
decides what it means and what is wrong with it.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from tarfile import EmptyHeaderError, EOFHeaderError, HeaderError, ReadError, StreamError  # type: ignore[attr-defined]  # two are not in its stubs
from typing import IO, Any, Self, cast

import numpy as np
import numpy.typing as npt

from pipeline.readers.bounds import DEFAULT_BOUNDS, MIB, Bounds, beyond
from pipeline.readers.opening import Stream

BLOCK = 512
"""Bytes of a header; what members hold is padded to a multiple of it."""
CHUNK = MIB
"""As much is read at once. Larger members are left to `tarfile`."""
NAME, NAME_BYTES, SIZE, KIND, MAGIC, PREFIX = 0, 100, 124, 156, 257, 345
"""Where the fields of a header begin."""
SIZE_DIGITS = 11
NUMBERS = ((100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (148, 8), (329, 8), (337, 8))
"""Beginning and length of the numbers: mode, owner, group, size, time, checksum, major and minor number of a device."""
EXACT = (SIZE, CHECKSUM) = (124, 148)
"""These are not taken in base 256, which any number that is never used may have."""
USTAR = np.frombuffer(b"ustar\0", np.uint8)
HARMLESS = {"comment"}
"""Global pax headers that change nothing about the members: `git archive` writes one."""
EXTENDED = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)


class OversizedError(ValueError):
    """Something in the archive is larger than its bound."""


class Archive(tarfile.TarFile):
    """An archive, or several one after the other (`cat a.tar b.tar`). `ended` is set behind a block of zeros."""

    ended = False

    def __init__(self, *arguments: Any, bounds: Bounds = DEFAULT_BOUNDS, **options: Any) -> None:
        self.bounds = bounds  # before the module reads the first header
        super().__init__(*arguments, **options)


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


@dataclass(frozen=True, slots=True)
class Unusual:
    """A member whose header `tarfile` has read; what it holds is read when asked for, before the next member."""

    tar: Archive
    header: tarfile.TarInfo

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.header.isfile()

    @property
    def is_link(self) -> bool:
        """Whether it is a hard or symbolic link."""
        return self.header.islnk() or self.header.issym()

    @property
    def size(self) -> int:
        """Bytes that it holds, as its header tells."""
        return self.header.size

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes of a regular file, from its beginning.

        Raises:
            ReadError: the archive ends before.
        """
        content = self.tar.extractfile(self.header)
        assert content is not None
        return content.read(limit)


Content = memoryview | Unusual
"""What a member holds: all bytes of a regular file, or what is to be asked."""


def members(stream: Stream, bounds: Bounds) -> Iterator[tuple[str, Content]]:
    """Names and contents of the members, in their order. Bytes that are not UTF-8 are surrogates in a name.

    Raises:
        TarError: the archive is damaged, or ends without the block of zeros that ends an archive.
        OversizedError: a name or an extended header is larger than its bound.
    """
    window = _Window(stream)
    tar: Archive | None = None
    while True:
        if tar is None or (tar.offset == window.tell() and tar.pax_headers.keys() <= HARMLESS):
            run = _run(window.data, window.place)
            while not run.places and run.is_cut and window.more():
                run = _run(window.data, window.place)
            if run.places:
                window.place = run.end
                if tar is not None:
                    tar.ended, tar.offset = False, window.tell()
                yield from run
                continue
        if tar is None:
            options: dict[str, Any] = {"tarinfo": Header, "ignore_zeros": True, "bounds": bounds}
            tar = Archive(fileobj=cast(IO[bytes], window), **options)  # reads the header of the first member
        header = tar.next()
        if header is None:
            return
        tar.members = []  # type: ignore[attr-defined]  # the module keeps every header it has read, which would grow with the archive
        yield header.name, Unusual(tar, header)
        if tar.offset > window.tell():
            window.seek(tar.offset - 1)
            if not window.read(1):
                raise ReadError("unexpected end of data")


class _Window:
    """The part of a stream that is in memory, from `place` of `data` on; for `tarfile`, a file that seeks forward only."""

    def __init__(self, stream: Stream) -> None:
        self.data, self.place = b"", 0
        self._stream, self._before = stream, 0

    def more(self) -> bool:
        """Takes in the next chunk; False at the end of the stream."""
        chunk = self._stream.read(CHUNK)
        self._before += self.place
        self.data, self.place = self.data[self.place :] + chunk, 0
        return bool(chunk)

    def tell(self) -> int:
        return self._before + self.place

    def read(self, size: int) -> bytes:
        parts = []
        while size > 0 and (self.place < len(self.data) or self.more()):
            part = self.data[self.place : self.place + size]
            self.place += len(part)
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def seek(self, offset: int) -> int:
        if offset < self.tell():
            raise StreamError("seeking backwards is not allowed")
        while self.tell() < offset and self.read(min(offset - self.tell(), CHUNK)):
            pass
        return self.tell()


@dataclass(frozen=True, slots=True)
class _Run:
    """Regular files that follow each other in `data`.

    Args:
        places: of their headers.
        sizes: bytes that they hold.
        names: as in their headers.
        is_cut: the next one may be of the same kind, but is not all in `data`.
    """

    data: bytes
    places: list[int]
    sizes: list[int]
    names: list[str]
    is_cut: bool

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return _after(self.places[-1], self.sizes[-1])

    def __iter__(self) -> Iterator[tuple[str, memoryview]]:
        view = memoryview(self.data)
        for name, place, size in zip(self.names, self.places, self.sizes, strict=True):
            yield name, view[place + BLOCK : place + BLOCK + size]


def _run(data: bytes, place: int) -> _Run:
    """The regular files from a place on whose headers mean the same to everyone."""
    places, sizes = [], []
    is_cut = False
    while True:
        if place + BLOCK > len(data):
            is_cut = True
            break
        digits = data[place + SIZE : place + SIZE + SIZE_DIGITS]
        if (
            data[place + KIND : place + KIND + 1] != tarfile.REGTYPE
            or not digits.isdigit()
            or b"8" in digits
            or b"9" in digits
        ):
            break
        size = int(digits, 8)
        end = _after(place, size)
        if end > len(data):
            is_cut = end - place <= CHUNK
            break
        places.append(place)
        sizes.append(size)
        place = end
    if not places:
        return _Run(data, [], [], [], is_cut)
    headers = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), BLOCK)[places]
    plain = _are_plain(headers)
    if not plain.all():
        first = int(plain.argmin())
        places, sizes, headers, is_cut = places[:first], sizes[:first], headers[:first], False
    return _Run(data, places, sizes, _names(headers), is_cut)


def _after(place: int, size: int) -> int:
    """Where the next header begins."""
    return place + BLOCK + -(-size // BLOCK) * BLOCK


def _are_plain(headers: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which of the (N, 512) headers have sound numbers, the right checksum, and a prefix only where POSIX has one."""
    checksum = headers[:, CHECKSUM : CHECKSUM + 8]
    expected = headers.sum(axis=1, dtype=np.int64) - checksum.sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    found = np.zeros(len(headers), np.int64)
    for column in checksum.T:
        found = np.where(_are_digits(column), found * 8 + column - ord("0"), found)
    plain = found == expected
    for start, length in NUMBERS:
        field = headers[:, start : start + length]
        digits = _are_digits(field)
        octal = (digits | (field == 0) | (field == ord(" "))).all(axis=1) & ~(digits[:, 1:] & ~digits[:, :-1]).any(axis=1)
        plain &= octal if start in EXACT else octal | (field[:, 0] == 0o200) | (field[:, 0] == 0o377)
    # More than eleven digits are not what `_run` has read.
    plain &= ~_are_digits(headers[:, SIZE + SIZE_DIGITS])
    return plain & ((headers[:, PREFIX] == 0) | (headers[:, MAGIC : MAGIC + len(USTAR)] == USTAR).all(axis=1))


def _are_digits(bytes_: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return (bytes_ >= ord("0")) & (bytes_ <= ord("7"))


def _names(headers: npt.NDArray[np.uint8]) -> list[str]:
    """The names in (N, 512) headers, with their prefixes."""
    names = [_text(header[:NAME_BYTES].tobytes()) for header in headers]
    for i in np.flatnonzero(headers[:, PREFIX]).tolist():
        names[i] = f"{_text(headers[i, PREFIX : PREFIX + 155].tobytes())}/{names[i]}"
    return names


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(tarfile.ENCODING, "surrogateescape")
