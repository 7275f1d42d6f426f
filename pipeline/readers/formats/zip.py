"""`.zip`: an archive of `.txt` files. One that holds a single table is read like a compressed table (`readers/walk.py`)."""

from collections.abc import Iterator
from typing import Any

from pipeline.readers.base import Format, Reading, Source


def reviews(source: Source, reading: Reading) -> Iterator[Any]:
    from pipeline.readers.archives import archive

    return archive(source, reading.bounds)


FORMAT = Format(
    name="zip",
    suffixes=(".zip",),
    summary="an archive of .txt files, or of one table of text",
    compressible=False,
    reviews=reviews,
)
