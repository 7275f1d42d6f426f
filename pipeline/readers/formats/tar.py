"""`.tar`: an archive of `.txt` files, streamed."""

from collections.abc import Iterator
from typing import Any

from pipeline.readers.base import Format, Source


def reviews(source: Source) -> Iterator[Any]:
    from pipeline.readers.archives import archive

    return archive(source)


FORMAT = Format(name="tar", suffixes=(".tar",), summary="an archive of .txt files", reviews=reviews)
