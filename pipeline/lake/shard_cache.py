"""Which of the fetched files a working copy keeps: as many bytes as `PIPELINE_CACHE_SIZE` allows, those used last."""

import os
import re
from collections.abc import Mapping

from pipeline.errors import UsageError
from pipeline.lake.kinds import is_large
from pipeline.lake.stamps import Identity, Note

SIZE = "PIPELINE_CACHE_SIZE"
"""The environment variable with the most bytes that a working copy keeps of files it can fetch again."""
DEFAULT = "50 GB"
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def cache_bytes() -> int:
    """The most bytes to keep.

    Raises:
        UsageError: $PIPELINE_CACHE_SIZE is not a size.
    """
    given = os.environ.get(SIZE) or DEFAULT
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]B|)\s*", given.upper())
    if match is None:
        raise UsageError(
            f"{SIZE}={given!r} is not a size. Set it to a number of bytes, or of KB, MB, GB or TB, as in '50 GB'."
        )
    return int(float(match[1]) * UNITS[match[2]])


def evicted(notes: Mapping[str, Note], here: Mapping[str, Identity]) -> list[str]:
    """The files to delete, least recently used first; never one that is not in the store as it is here."""
    held = [
        name for name, note in notes.items() if is_large(name) and note.local is not None and here.get(name) == note.local
    ]
    total = sum(notes[name].size for name in held)
    most = cache_bytes()
    gone = []
    for name in sorted(held, key=lambda name: (notes[name].used, name)):
        if total <= most:
            break
        gone.append(name)
        total -= notes[name].size
    return gone
