"""`.tar`: an archive of `.txt` files, streamed."""

from collections.abc import Iterator
from typing import Any

from pipeline.readers.base import Format, Reading, Source


def reviews(source: Source, reading: Reading) -> Iterator[Any]:
    from pipeline.readers.archives import archive

    return archive(source, reading.bounds)


FORMAT = Format(name="tar", suffixes=(".tar",), summary="an archive of .txt files", reviews=reviews)
