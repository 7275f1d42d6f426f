"""Where deliveries are: from what the user names to a sorted list of sources. The one walker of ingest and score."""

import difflib
import glob
import logging
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from pipeline.errors import InputNotFoundError, UsageError
from pipeline.lake.links import without_links
from pipeline.lake.store import is_uri
from pipeline.progress import AS_IT_IS
from pipeline.readers.base import FileFault, Format, Source
from pipeline.readers.layout import SIDE_FILES
from pipeline.readers.line_batches import lines_in_one_review
from pipeline.readers.opening import DENIED, is_settled, stamp
from pipeline.readers.registry import described, format_of
from pipeline.readers.zip_members import table_in
from pipeline.text.kernels import folder_names

log = logging.getLogger(__name__)

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
SPREADSHEETS = (".xlsx", ".xls", ".ods")
PACKED = (".xz", ".7z", ".rar", ".lz4", ".parquet.gz", ".parquet.zst", ".parquet.bz2")
NAMED = 5
"""As many files are named in a message; the rest is counted."""


@dataclass(kw_only=True)
class Found:
    """What lies at the places that were given.

    Args:
        sources: in the order of their paths, each once.
        faults: files and folders that cannot be opened.
        passed_over: names of files of kinds that are not read.
        unsettled: names of files that were written a moment ago.
    """

    sources: list[Source] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Walker:
    """Finds sources.

    Args:
        name_of: how the lake calls a path.
        format: what explicitly named files are taken for, whatever their suffix.
        settle_seconds: files that were written more recently are left alone.
        apart: folders below which nothing is looked for, unless they are given; absolute, without links.
    """

    name_of: Callable[[Path], str]
    format: Format | None = None
    settle_seconds: float = 0.0
    apart: tuple[Path, ...] = ()

    def find(self, given: Sequence[str | Path]) -> Found:
        """Every source at the given files, folders and glob patterns.

        Raises:
            InputNotFoundError: a path is not there.
            UsageError: a file of a kind that is not read.
        """
        found = Found()
        sources: dict[Path, Source] = {}
        for root in (path for item in given for path in expanded(item)):
            new = _Walk(self, found, root.resolve()).sources() if root.is_dir() else self._file(found, root)
            for source in new:
                known = sources.get(source.path)
                if known:
                    source = replace(source, listing="/".join(sorted({*source.files, *known.files})))
                sources[source.path] = source
        found.sources = [sources[path] for path in sorted(sources)]
        for warning in lines_in_one_review(found.sources):
            log.warning("%s", warning, extra=AS_IT_IS)
        return found

    def _file(self, found: Found, path: Path) -> list[Source]:
        """An explicitly named file."""
        kind = format_of(path.name)
        if self.format is not None:
            kind = self.format, kind[1] if kind else None
        if kind is None:
            raise UsageError(f"{path}: unsupported file type. {_advice(path.name)}Supported: {described()}.")
        # A link that leads nowhere, as a pattern may match one, is found out when it is opened.
        is_there = path.exists()
        if is_there and not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is a pipe or a device, not a file. Pass a regular file.")
        path = without_links(path)
        if is_there and not is_settled(path, self.settle_seconds):
            found.unsettled.append(self.name_of(path))
            return []
        return [self.source(path, *kind)]

    def source(self, path: Path, format: Format, compression: str | None, partitions: "Partitions" = ()) -> Source:
        """The source of one file; a review in a file of its own belongs to its folder's source."""
        if format.name == "txt":
            parent = path.parent
            return Source(path=parent, name=self.name_of(parent), format="txt", listing=path.name, partitions=partitions)
        try:
            found = stamp(path)
        except OSError:
            found = None  # whoever opens it says what is wrong with it
        if format.name == "zip" and (table := table_in(path)):
            format, compression = table, "zip"
        return Source(
            path=path,
            name=self.name_of(path),
            format=format.name,
            compression=compression,
            partitions=partitions,
            stamp=found,
        )


Partitions = tuple[tuple[str, str | None], ...]


class _Walk:
    """One folder and everything below it. Links are followed; a folder that was visited is not visited again."""

    def __init__(self, walker: Walker, found: Found, root: Path) -> None:
        self.walker, self.found, self.root = walker, found, root
        self.visited: set[tuple[int, int]] = set()

    def sources(self) -> list[Source]:
        found: list[Source] = []
        pending = [self.root]
        while pending:
            folder = pending.pop()
            texts, folders, names = self._entries(folder)
            pending += sorted(folders, reverse=True)
            found += self._files(folder, texts, names)
        return found

    def _files(self, folder: Path, listing: str, names: list[str]) -> list[Source]:
        """The sources in a folder: its `.txt` files (`listing`), and what the `names` of other files are."""
        partitions = partitions_of(folder.relative_to(self.root))
        sources, texts = [], []
        for name in names:
            kind = format_of(name)
            if kind is None:
                self.found.passed_over.append(self.walker.name_of(folder / name))
            elif kind[0].name == "txt":
                texts.append(name)
            elif self._settled(folder / name):
                sources.append(self.walker.source(folder / name, *kind, partitions))
        if listing := self._listing(folder, listing, texts):
            name = self.walker.name_of(folder)
            sources.append(Source(path=folder, name=name, format="txt", listing=listing, partitions=partitions))
        return sources

    def _listing(self, folder: Path, listing: str, more: list[str]) -> str:
        """The sorted names of a folder's reviews. A million plain ones stay one string."""
        settle = self.walker.settle_seconds
        if not more and not settle and listing.isascii() and not any(name in listing for name in SIDE_FILES):
            return listing
        texts = [name for name in (*listing.split("/"), *more) if name and name not in SIDE_FILES]
        return "/".join(sorted(name for name in texts if not settle or self._settled(folder / name)))

    def _settled(self, path: Path) -> bool:
        try:
            settled = is_settled(path, self.walker.settle_seconds)
        except OSError:
            return True  # whoever opens it says what is wrong with it
        if not settled:
            self.found.unsettled.append(self.walker.name_of(path))
        return settled

    def _entries(self, folder: Path) -> tuple[str, list[Path], list[str]]:
        """The names of a folder's `.txt` files, slashes between them, the folders in it, and the names of its other files;
        nothing where it was visited or cannot be read.
        """
        folders: list[Path] = []
        names: list[str] = []
        listing = b""
        try:
            status = folder.stat()
            place = (status.st_dev, status.st_ino)
            if place in self.visited:
                return "", [], []
            self.visited.add(place)
            listing, others = folder_names(os.fsencode(folder), b".txt")
            for other in others.split(b"\0")[:-1]:
                # The folder's entry itself says what it is; only for a link the disk is asked.
                kind, name = other[:1], os.fsdecode(other[1:])
                path = folder / name
                if kind == b"f":
                    names.append(name)
                elif kind == b"d" or path.is_dir():
                    if path not in self.walker.apart:
                        folders.append(path)
                elif path.is_file() or not path.exists():
                    names.append(name)  # a link that leads nowhere is found out when it is opened
                else:
                    self.found.passed_over.append(self.walker.name_of(path))
        except OSError as error:
            if error.errno not in DENIED:
                raise
            detail = f"the folder cannot be read: {error.strerror}; check its owner and permissions"
            self.found.faults.append(FileFault(self.walker.name_of(folder), "unreadable", detail))
        return os.fsdecode(listing), folders, names


def partitions_of(folder: Path) -> Partitions:
    """Columns that folders named `key=value` tell, in Hive's layout: `day=2024-01-01/shop=7`."""
    pairs = [part.partition("=") for part in folder.parts if "=" in part]
    named = [(unquote(key), unquote(value)) for key, _, value in pairs if key]
    return tuple((key, None if value == HIVE_NULL else value) for key, value in named)


def some_of(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    rest = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def expanded(item: str | Path) -> list[Path]:
    """The files and folders that a path or a glob names.

    Raises:
        InputNotFoundError: there is none.
        UsageError: a URI.
    """
    if is_uri(str(item)):
        raise UsageError(f"{item}: this command takes no URIs. Copy the files to a folder.")
    path = Path(item).expanduser()
    try:
        if path.exists():
            return [path]
    except PermissionError:
        raise InputNotFoundError(
            f"{path} is not accessible: permission denied. Check the owner and permissions of its parent folders."
        ) from None
    if glob.has_magic(str(path)):
        matches = sorted(Path(match) for match in glob.iglob(str(path), recursive=True))  # noqa: PTH207  # absolute patterns too
        if matches:
            return matches
        raise InputNotFoundError(f"no file or folder matches {path}. Check the pattern; pipeline expands it itself.")
    if path.is_symlink():
        raise InputNotFoundError(f"{path} is a link to {path.readlink()}, which does not exist. Fix the link.")
    siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputNotFoundError(f"no such file or folder: {path}.{hint} Check the path.")


def _advice(name: str) -> str:
    if name.lower().endswith(SPREADSHEETS):
        return "Save the sheet as CSV. "
    if name.lower().endswith(PACKED):
        return "Unpack it. "
    return "Set the format with --format, or rename the file. "
