"""`.txt`: one review per file; aclImdb's folders give split, label and stars."""

from collections.abc import Iterator
from typing import Any

from pipeline.readers.base import Format, Reading, Source


def reviews(source: Source, reading: Reading) -> Iterator[Any]:
    from pipeline.readers.text_files import text_folder

    return text_folder(source, reading.bounds)


FORMAT = Format(name="txt", suffixes=(".txt",), summary="one review per file", reviews=reviews)
