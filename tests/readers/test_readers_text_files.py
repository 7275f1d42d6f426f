"""Folders of one-review files: how they are cut into batches."""

from pathlib import Path

from pipeline.readers.base import Source
from pipeline.readers.bounds import Bounds
from pipeline.readers.reviews import TextFiles
from pipeline.readers.text_files import SAMPLED, text_folder

MIB = 1 << 20


def test_large_texts_between_short_ones_never_exceed_an_arrow_array(tmp_path: Path) -> None:
    names = [f"{number:02}.txt" for number in range(3 * SAMPLED)]
    for number, name in enumerate(names):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 if number % SAMPLED == 0 else 3 * MIB)
    source = Source(path=tmp_path, name="reviews", format="txt", listing="/".join(names))
    bounds = Bounds(batch=4 * MIB, value=3 * MIB)

    batches = [item for item in text_folder(source, bounds) if isinstance(item, TextFiles)]

    assert [name for batch in batches for name in batch.files] == names
    for batch in batches:
        assert sum((tmp_path / name).stat().st_size for name in batch.files) < bounds.batch + bounds.value
