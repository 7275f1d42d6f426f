"""Members of tar archives: whatever the archive, the same as `tarfile` finds, with the same words for what is wrong."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.readers import tar_members
from pipeline.readers.bounds import Bounds
from pipeline.readers.opening import opened
from pipeline.readers.tar_members import Archive, Header, OversizedError, members

READ = 3000
"""As much is read of each member."""
BLOCK = 512
KINDS = (tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
KINDS += (tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"Z")
HOLLOW = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE)
"""Nothing is behind their headers, even where they tell a size; sparse files have a map there."""
NAMES = st.one_of(
    st.from_regex(r"[a-z/.]{1,20}", fullmatch=True),
    st.from_regex(r"[a-z]{60,99}/[a-z/]{30,120}", fullmatch=True),
    st.text("aé電\udce9/. \n=", min_size=1, max_size=120),
)
FIELDS = {100: 8, 108: 8, 116: 8, 124: 12, 136: 12, 156: 1, 257: 8, 329: 8, 345: 155, 0: 100}
"""Beginnings of fields of a header, and their lengths."""
VALUES = st.one_of(
    st.binary(max_size=12),
    st.text("0123456789 -+_ox\0", max_size=12).map(str.encode),
    st.sampled_from([b"\x80" + bytes(6) + b"\x02", b"\x80" + bytes(10) + b"\x07", b"\xff" * 12, b"0" * 12, b"777777777777"]),
)


@st.composite
def headers(draw: st.DrawFn) -> tarfile.TarInfo:
    header = tarfile.TarInfo(draw(NAMES))
    header.size = draw(st.sampled_from([0, 1, 7, 511, 512, 513, 1500, 5000]))
    header.type = draw(st.sampled_from([*[tarfile.REGTYPE] * 12, *KINDS]))
    if header.type in HOLLOW and draw(st.integers(0, 5)):
        header.size = 0
    header.mtime = draw(st.sampled_from([0, 0, 0, 1_700_000_000.25, 8**12]))
    header.uid = draw(st.sampled_from([0, 0, 0, 1000, 8**8]))
    header.linkname = draw(st.sampled_from(["", "a.txt", "l" * 130]))
    keys = st.sampled_from(["path", "size", "comment", "mtime", "hdrcharset", "GNU.sparse.size", "GNU.sparse.name", "uid"])
    values = st.one_of(st.sampled_from(["7", "BINARY", "x.txt", "x/", ""]), st.text(max_size=9))
    header.pax_headers = draw(st.dictionaries(keys, values, max_size=2)) if draw(st.integers(0, 9)) == 0 else {}
    return header


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """One or several archives, perhaps cut, with holes, or with fields that say something else."""
    content = b""
    for _ in range(draw(st.integers(1, 2))):
        out = io.BytesIO()
        form = draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]))
        common = draw(st.sampled_from([{}, {}, {"comment": "c"}, {"path": "p"}, {"uid": "3"}])) if form == 2 else {}
        with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape", pax_headers=common) as tar:
            for header in draw(st.lists(headers(), max_size=8)):
                try:
                    tar.addfile(header, io.BytesIO(b"%d " % header.size * header.size))
                except (ValueError, UnicodeError):
                    continue  # no room for it in this format
        content += out.getvalue()[: draw(st.sampled_from([None, None, None, -10240, -9728, -512]))]
    blocks = bytearray(content)
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        _change(blocks, draw)
    return bytes(blocks[: draw(st.one_of(st.none(), st.none(), st.integers(0, len(blocks))))])


def _change(blocks: bytearray, draw: st.DrawFn) -> None:
    """Another value in a field, mostly under a checksum that holds."""
    starts = [place for place in range(0, len(blocks), BLOCK) if blocks[place + 257 : place + 262] == b"ustar"]
    if not starts:
        return
    start = draw(st.sampled_from(starts))
    field = draw(st.sampled_from(sorted(FIELDS)))
    value = draw(VALUES)[: FIELDS[field]]
    blocks[start + field : start + field + len(value)] = value
    if draw(st.integers(0, 4)):
        blocks[start + 148 : start + 156] = b" " * 8
        blocks[start + 148 : start + 156] = b"%06o\0 " % sum(blocks[start : start + BLOCK])


Found = list[tuple[str, str, int, bytes]]


def by_tarfile(path: Path, bounds: Bounds) -> Iterator[tuple[str, str, int, bytes]]:
    """Name, kind, size and beginning of each member, from an object each."""
    options: dict[str, Any] = {"tarinfo": Header, "ignore_zeros": True, "bounds": bounds}
    with opened(path, None) as stream, Archive.open(fileobj=stream, mode="r|", **options) as tar:  # type: ignore[call-overload]
        for header in tar:
            tar.members = []  # type: ignore[attr-defined]
            if header.isfile():
                content = tar.extractfile(header)
                assert content is not None
                yield header.name, "file", header.size, content.read(READ)
            else:
                yield header.name, "link" if header.islnk() or header.issym() else "other", 0, b""


def by_members(path: Path, bounds: Bounds) -> Iterator[tuple[str, str, int, bytes]]:
    with opened(path, None) as stream:
        for name, content in members(stream, bounds):
            if isinstance(content, memoryview):
                yield name, "file", len(content), bytes(content[:READ])
            elif content.is_file:
                yield name, "file", content.size, content.read(READ)
            else:
                yield name, "link" if content.is_link else "other", 0, b""


def found_in(found: Iterator[tuple[str, str, int, bytes]]) -> tuple[Found, str]:
    """The members, and the error that ended them."""
    result: Found = []
    try:
        for member in found:
            result.append(member)
    except (tarfile.TarError, OversizedError, OSError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return result, f"{type(error).__name__}: {error}"
    return result, ""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tar") / "a.tar"


@pytest.mark.slow
@given(content=archives(), chunk=st.sampled_from([1000, 1536, 6000, 1 << 20]), name=st.sampled_from([150, 1 << 20]))
@example(content=b"", chunk=512, name=512)
@example(content=bytes(1024), chunk=512, name=512)
@example(content=b"no tar at all" * 100, chunk=512, name=512)
def test_members_are_those_that_tarfile_finds(place: Path, content: bytes, chunk: int, name: int) -> None:
    place.write_bytes(content)
    bounds = Bounds(name=name)
    expected = found_in(by_tarfile(place, bounds))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tar_members, "CHUNK", chunk)
        assert found_in(by_members(place, bounds)) == expected
