"""Folders of one-review files: how they are cut into batches."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.readers.base import BATCH_ROWS, Source
from pipeline.readers.bounds import Bounds
from pipeline.readers.reviews import TextFiles
from pipeline.readers.text_files import BOMS, SAMPLED, reviews_of_texts, text_folder

MIB = 1 << 20


def folder_of(path: Path, files: dict[str, int]) -> Source:
    """A folder of `.txt` files, by their bytes."""
    for name, size in files.items():
        with (path / name).open("wb") as file:
            file.truncate(size)
    return Source(path=path, name="reviews", format="txt", listing="/".join(files))


def test_large_texts_between_short_ones_never_exceed_an_arrow_array(tmp_path: Path) -> None:
    names = [f"{number:02}.txt" for number in range(3 * SAMPLED)]
    sizes = {name: 1 if number % SAMPLED == 0 else 3 * MIB for number, name in enumerate(names)}
    source = folder_of(tmp_path, sizes)
    bounds = Bounds(batch=4 * MIB, value=3 * MIB)

    batches = [item for item in text_folder(source, bounds) if isinstance(item, TextFiles)]

    assert [name for batch in batches for name in batch.files] == names
    for batch in batches:
        assert sum((tmp_path / name).stat().st_size for name in batch.files) < bounds.batch + bounds.value


@pytest.mark.parametrize(("size", "most"), [(0, BATCH_ROWS), (100, BATCH_ROWS), (1000, MIB // 1000), (1600, MIB // 1600)])
def test_short_texts_fill_a_batch_by_their_number_or_by_their_bytes(tmp_path: Path, size: int, most: int) -> None:
    names = [f"{number:04}.txt" for number in range(2 * BATCH_ROWS + 100)]
    source = folder_of(tmp_path, dict.fromkeys(names, size))

    batches = [item.files for item in text_folder(source, Bounds(batch=MIB)) if isinstance(item, TextFiles)]

    assert [name for files in batches for name in files] == names
    assert {len(files) for files in batches[:-1]} == {most}


@given(starts=st.lists(st.sampled_from([*BOMS, b"", b"\xef", b"\xef\xbb", b"\xff", b"\xfe", b"a"]), min_size=1, max_size=6))
def test_marks_of_the_byte_order_are_found_wherever_they_stand(starts: list[bytes]) -> None:
    contents = [start + "good".encode(BOMS.get(start, "utf-8")) for start in starts]
    batch = reviews_of_texts("f", [f"{n}.txt" for n in range(len(starts))], pa.array(contents, pa.binary()), "f", 100)
    expected = [b"good" if start in BOMS else content for start, content in zip(starts, contents, strict=True)]
    assert batch.text.to_pylist() == expected
