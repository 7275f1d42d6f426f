"""Where the predictions of each input go when every input has an output of its own.

The name is a function of the input's path below the folder or pattern that was given, and of nothing else: the next run
finds it again, and no two inputs share one.
"""

import glob
import hashlib
import os
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.output_format import SUFFIXES
from pipeline.errors import UsageError
from pipeline.lake.links import without_links
from pipeline.readers.base import Source
from pipeline.readers.layout import HIDDEN
from pipeline.readers.registry import COMPRESSIONS, format_of

TEXTS = "reviews.txt"
"""The `.txt` files of a folder are one input; it is named as a file of that folder."""
NAME_BYTES = 240
"""Longest name of an output; file systems allow 255, and unfinished files have a prefix."""
_OUTPUT_SUFFIXES = frozenset((*SUFFIXES, *COMPRESSIONS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An input and its output."""

    source: Source
    output: Path


@dataclass(frozen=True, kw_only=True)
class Places:
    """Outputs in `root`, a folder for each base.

    Args:
        root: the lake's predictions/, or the folder of `--output`; absolute.
        bases: folders that inputs are named relative to, and what they are called in `root`.
        suffix: that of the output format, such as `.parquet`.
    """

    root: Path
    bases: dict[Path, str]
    suffix: str

    @classmethod
    def of(cls, given: Sequence[str], sources: Sequence[Source], root: Path, suffix: str) -> "Places":
        """The places for the inputs as the user gave them.

        Raises:
            UsageError: two of them have one name, or the outputs would be written into an input.
        """
        bases: dict[Path, str] = {}
        linked = {_folder(source) for source in sources}
        for base in sorted({_base(place) for place in given}, key=lambda base: len(base.parts)) + sorted(linked):
            if _above(base, bases) is None:  # of folders in folders, the topmost; a link that was named leads elsewhere
                bases[base] = _plain(base.name or "root")
        named: dict[str, Path] = {}
        for base, name in bases.items():
            if (other := named.setdefault(name, base)) != base:
                raise UsageError(
                    f"{other} and {base} have the same name, so both would be written to {root / name}. Score each in a "
                    "run of its own, with --output DIR/, or pass the folder above both."
                )
        folders = {path.resolve() for path in (Path(place).expanduser() for place in given) if path.is_dir()}
        for base, name in bases.items():
            if (inside := base if root / name == base else _above(root / name, folders)) is not None:
                raise UsageError(
                    f"the predictions would be written to {root / name}, which is part of the input {inside}. 'pipeline "
                    "score' never changes its input. Choose a folder elsewhere with --output DIR/."
                )
        return cls(root=root, bases=bases, suffix=suffix)

    @property
    def folders(self) -> list[Path]:
        """The folders that are written to, and everything below them."""
        return sorted(self.root / name for name in self.bases.values())

    @property
    def shown(self) -> Path:
        """The folder that holds all outputs."""
        return self.folders[0] if len(self.bases) == 1 else self.root

    def of_sources(self, sources: Sequence[Source]) -> Iterator[Place]:
        """The output of each source; those of one folder follow each other.

        Raises:
            UsageError: two of them are the same.
        """
        outputs = sorted((*os.path.split(self._output(source)), number) for number, source in enumerate(sources))
        before = None
        for folder, name, number in outputs:
            if before is not None and before[:2] == (folder, name):
                raise UsageError(
                    f"{sources[before[2]].name} and {sources[number].name} would both be written to {folder}/{name}. "
                    "Rename one of them, or score them in two runs, one with --output DIR/."
                )
            before = (folder, name, number)
            yield Place(source=sources[number], output=Path(folder, name))

    def _output(self, source: Source) -> str:
        folder = _folder(source)
        base = _above(folder, self.bases)
        assert base is not None
        parts = [_plain(part) for part in folder.relative_to(base).parts]
        name = _file_name(TEXTS if source.files else source.path.name, self.suffix)
        return str(self.root.joinpath(self.bases[base], *parts, name))


def _folder(source: Source) -> Path:
    return source.path if source.files else source.path.parent


def _above(path: Path, folders: Container[Path]) -> Path | None:
    """The folder that a path is, or is in."""
    return next((folder for folder in (path, *path.parents) if folder in folders), None)


def _base(place: str) -> Path:
    """The folder that inputs are named relative to: the folder itself, a file's, or a pattern's part without wildcards."""
    path = Path(place).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists() or not glob.has_magic(str(path)):
        return without_links(path).parent
    fixed = []
    for part in path.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return without_links(Path(*fixed))


def _file_name(name: str, suffix: str) -> str:
    """The output's file name: the suffix is appended unless the input is of the same format already.

    `a.csv` becomes `a.csv.parquet`, and so that an input of that name does not become the same, it becomes
    `a.csv.parquet.parquet`.
    """
    stem = name.removesuffix(suffix) or name
    if stem == name or format_of(stem) is not None:
        stem = name
    return _fitting(_escaped(stem), suffix)


def _plain(name: str) -> str:
    """A folder's name that no reader takes for a partition (`day=1`), a hidden folder or a file of predictions."""
    name = _escaped(name)
    stem, dot, suffix = name.rpartition(".")
    if dot and f".{suffix.lower()}" in _OUTPUT_SUFFIXES:
        name = f"{stem}%2E{suffix}"
    return _fitting(name, "")


def _escaped(name: str) -> str:
    """`%`, `=` and bytes that are not UTF-8 are escaped as in URIs, and so is a first character that would hide the file."""
    name = name.replace("%", "%25").replace("=", "%3D")
    name = "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in name)
    return f"%{ord(name[0]):02X}{name[1:]}" if name.startswith(HIDDEN) else name


def _fitting(name: str, suffix: str) -> str:
    raw = name.encode()
    if len(raw) + len(suffix) <= NAME_BYTES:
        return name + suffix
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return raw[: NAME_BYTES - len(suffix) - len(digest) - 1].decode("utf-8", "ignore") + f"-{digest}{suffix}"
