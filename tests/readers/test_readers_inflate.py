"""Gzip files, sound or not: the same bytes and the same errors as Arrow gives."""

import gzip
import zlib
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.readers import inflate
from pipeline.readers.inflate import GzipFile

MEMBERS = st.lists(
    st.tuples(st.binary(max_size=300), st.sampled_from([1, 50, 3000]), st.sampled_from([0, 1, 9])), max_size=3
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gzip") / "a.gz"


def outcome(file: "GzipFile | pa.NativeFile", size: int) -> tuple[list[bytes], str]:
    """The blocks of a file, and the error that ends them."""
    blocks: list[bytes] = []
    try:
        while block := bytes(file.read(size)):
            blocks.append(block)
    except OSError as error:
        return blocks, str(error)
    finally:
        file.close()
    return blocks, ""


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Members one after the other, perhaps cut, changed, or followed by something else."""
    content = bytearray(b"".join(gzip.compress(part * times, level) for part, times, level in draw(MEMBERS)))
    if content and draw(st.booleans()):
        content[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
    content += draw(st.sampled_from([b"", b"", b"junk", bytes(3), b"\x1f", b"\x1f\x8b", zlib.compress(b"x")]))
    return bytes(content[: draw(st.one_of(st.none(), st.integers(0, len(content))))])


@given(content=files(), size=st.sampled_from([1000, 4096, 1 << 20]), block=st.sampled_from([1, 3, 100, 1 << 17]))
@example(content=b"", size=1000, block=100)
@example(content=gzip.compress(b"good") + gzip.compress(b"") + gzip.compress(b"bad"), size=2, block=1)
def test_bytes_and_errors_are_those_of_arrow(place: Path, content: bytes, size: int, block: int) -> None:
    place.write_bytes(content)
    expected = outcome(pa.input_stream(pa.OSFile(str(place)), compression="gzip"), size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflate, "BLOCK_BYTES", block)
        found = outcome(GzipFile(pa.OSFile(str(place))), size)
    if expected[1]:  # Arrow decompresses ahead, so its error may come a block earlier
        assert found[1] == expected[1] and b"".join(found[0]).startswith(b"".join(expected[0]))
    else:
        assert found == expected


def test_everything_at_once(place: Path) -> None:
    place.write_bytes(gzip.compress(b"good") + gzip.compress(b" film"))
    file = GzipFile(pa.OSFile(str(place)))
    assert (file.read(), file.read()) == (b"good film", b"")
    file.close()
