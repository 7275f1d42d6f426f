"""The members of a tar archive, streamed.

Nearly every header of an archive is of one simple kind: a regular file with octal numbers. Those are read here, many at
once. Each other one (long names, pax, sparse files, links, the end of an archive, damage) is read by `tarfile`, which
decides what it means and what is wrong with it.
"""

import re
import tarfile
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
SIZE, CHECKSUM, KIND, MAGIC, PREFIX = 124, 148, 156, 257, 345
"""Where the fields of a header begin."""
NAME_BYTES, SIZE_DIGITS, PREFIX_BYTES = 100, 11, 155
NUMBERS = ((100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (148, 8), (329, 8), (337, 8))
"""Beginning and length of the numbers: mode, owner, group, size, time, checksum, major and minor number of a device."""
EXACT = (SIZE, CHECKSUM)
"""The numbers that count; the others may be in base 256."""
USTAR = np.frombuffer(b"ustar\0", np.uint8)
HARMLESS = {"comment"}
"""Global pax headers that change nothing about the members: `git archive` writes one."""
PAX_RECORD = re.compile(
    rb"(\d{1,6}) (path|[amc]time|[ug]id|[ug]name|LIBARCHIVE\.creationtime|SCHILY\.(?:dev|ino|nlink))=([^\0\n]*)\n"
)
"""Those that name a member, and those that change nothing about it."""
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
            run = _run(window.data, window.place, bounds)
            while not run.begins and run.is_cut and window.more():
                run = _run(window.data, window.place, bounds)
            if run.begins:
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


@dataclass(slots=True)
class _Run:
    """Regular files that follow each other in `data`, whose headers mean the same to everyone.

    Args:
        end: where the next header begins.
        is_cut: the next member may be of the same kind, but is not all in `data`.
        begins: where their headers begin, with those that extend them.
        contents: where what they hold begins.
        sizes: bytes that they hold.
        given: names from extended headers, by the member's number.
        names: one of each.
    """

    data: bytes
    end: int
    is_cut: bool = False
    begins: list[int] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    given: dict[int, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[str, memoryview]]:
        view = memoryview(self.data)
        for name, start, size in zip(self.names, self.contents, self.sizes, strict=True):
            yield name, view[start : start + size]

    def keep(self, number: int) -> None:
        """Drops the members from this number on."""
        if number < len(self.begins):
            self.end, self.is_cut = self.begins[number], False
            del self.begins[number:], self.contents[number:], self.sizes[number:]


def _run(data: bytes, place: int, bounds: Bounds) -> _Run:
    """The regular files from a place on."""
    run = _Run(data, place)
    extensions: list[int] = []
    begin, name = place, None
    while True:
        kind, size = data[place + KIND : place + KIND + 1], _size(data, place)
        end = place + BLOCK + -(-size // BLOCK) * BLOCK
        if end > len(data):
            run.is_cut = end - begin <= CHUNK
            break
        if kind == tarfile.REGTYPE and size >= 0:
            if name:
                run.given[len(run.begins)] = name
            run.begins.append(begin)
            run.contents.append(place + BLOCK)
            run.sizes.append(size)
            begin, name, run.end = end, None, end
        elif kind in NAMING and begin == place and 0 <= size <= bounds.name:
            name = NAMING[kind](data[place + BLOCK : end])
            if name is None:
                break
            extensions.append(place)
        else:
            break
        place = end
    _check(run, extensions)
    return run


def _size(data: bytes, place: int) -> int:
    """The size in a header; -1 if it is not written in digits, and 0 if the header is cut."""
    digits = data[place + SIZE : place + SIZE + SIZE_DIGITS]
    if place + BLOCK > len(data):
        return 0
    try:
        return int(digits, 8) if digits.isdigit() else -1
    except ValueError:
        return -1


def _check(run: _Run, extensions: list[int]) -> None:
    """Keeps the members before the first with an unusual header, and names them."""
    if not run.begins:
        return
    headers = _headers(run.data, [content - BLOCK for content in run.contents])
    number = _first_unusual(headers)
    if extensions:
        unusual = _first_unusual(_headers(run.data, extensions))
        if unusual < len(extensions):
            number = min(number, bisect_left(run.begins, extensions[unusual]))
    run.keep(number)
    run.names = _names(headers[:number])
    for i, name in run.given.items():
        if i < number:
            run.names[i] = name


def _headers(data: bytes, places: list[int]) -> npt.NDArray[np.uint8]:
    return np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), BLOCK)[places]


def _first_unusual(headers: npt.NDArray[np.uint8]) -> int:
    plain = _are_plain(headers)
    return len(headers) if plain.all() else int(plain.argmin())


def _long_name(content: bytes) -> str | None:
    """The name in GNU's header for long ones, None if it is empty."""
    return _text(content) or None


def _pax_name(content: bytes) -> str | None:
    """The name in a pax header: "" if there is none, None if the header holds anything that changes the member."""
    name = ""
    for record in content.rstrip(b"\0").splitlines(keepends=True):
        match = PAX_RECORD.fullmatch(record)
        if match is None or int(match[1]) != len(record):
            return None
        if match[2] == b"path":
            try:
                name = match[3].decode()
            except UnicodeDecodeError:
                return None
            if not name or name.endswith("/"):
                return None
    return name


NAMING: dict[bytes, Callable[[bytes], str | None]] = {tarfile.GNUTYPE_LONGNAME: _long_name, tarfile.XHDTYPE: _pax_name}
"""Headers that may name the member behind them."""


def _are_plain(headers: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which of the (N, 512) headers have sound numbers, the right checksum, and a prefix only where POSIX has one."""
    checksum = headers[:, CHECKSUM : CHECKSUM + 8]
    expected = headers.sum(axis=1, dtype=np.int64) - checksum.sum(axis=1, dtype=np.int64) + 8 * ord(" ")
    found = np.zeros(len(headers), np.int64)
    for column in checksum.T:
        found = np.where(_are_digits(column), found * 8 + column - ord("0"), found)
    plain: npt.NDArray[np.bool_] = found == expected
    for start, length in NUMBERS:
        field = headers[:, start : start + length]
        digits = _are_digits(field)
        octal = (digits | (field == 0) | (field == ord(" "))).all(axis=1) & ~(digits[:, 1:] & ~digits[:, :-1]).any(axis=1)
        plain &= octal if start in EXACT else octal | (field[:, 0] == 0o200) | (field[:, 0] == 0o377)
    # `_size` reads eleven digits.
    plain &= ~_are_digits(headers[:, SIZE + SIZE_DIGITS])
    plain &= (headers[:, PREFIX] == 0) | (headers[:, MAGIC : MAGIC + len(USTAR)] == USTAR).all(axis=1)
    return plain


def _are_digits(characters: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    digits: npt.NDArray[np.bool_] = (characters >= ord("0")) & (characters <= ord("7"))
    return digits


def _names(headers: npt.NDArray[np.uint8]) -> list[str]:
    """The names in (N, 512) headers, with their prefixes."""
    fields = np.ascontiguousarray(headers[:, :NAME_BYTES]).view(f"S{NAME_BYTES}").ravel().tolist()
    names = [_text(name) for name in fields]
    for i in np.flatnonzero(headers[:, PREFIX]).tolist():
        names[i] = f"{_text(headers[i, PREFIX : PREFIX + PREFIX_BYTES].tobytes())}/{names[i]}"
    return names


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(tarfile.ENCODING, "surrogateescape")
