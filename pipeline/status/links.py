"""Links from the morning page to files of the lake, which work from a disk and from a web server."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pipeline.lake.paths import Lake
from pipeline.printable import printable, utf8_name


@dataclass(frozen=True, kw_only=True)
class Link:
    """A file. `href` is "" where nothing can be linked: the file is not there, or not in the lake."""

    name: str
    href: str = ""


def link(lake: Lake, path: str, name: str = "") -> Link:
    """A link to a file, given as records name it: absolute, or relative to the lake.

    Args:
        name: what to show; the file's name by default.
    """
    place = Path(os.path.normpath(lake.root / lake.local(path)))
    shown = printable(utf8_name(name or place.name))
    if not place.is_relative_to(lake.root) or place == lake.root or not place.exists():
        return Link(name=shown)
    relative = place.relative_to(lake.root)
    return Link(name=shown, href="/".join(quote(os.fsencode(part), safe="") for part in relative.parts))
