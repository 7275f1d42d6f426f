"""The input formats: every module in `formats/` is one. Help, errors and docs are made from this list."""

import importlib
import os
import pkgutil
from functools import cache

from pipeline.errors import unknown_choice
from pipeline.readers import formats
from pipeline.readers.base import Format

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
SHORT_NAMES = {".tgz": ".tar.gz", ".tbz2": ".tar.bz2", ".tzst": ".tar.zst"}


@cache
def all_formats() -> dict[str, Format]:
    """Every format by its name."""
    modules = sorted(module.name for module in pkgutil.iter_modules(formats.__path__))
    found = [importlib.import_module(f"{formats.__name__}.{name}").FORMAT for name in modules]
    return {one.name: one for one in found}


def format_named(name: str, option: str = "--format") -> Format:
    """The format of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in all_formats():
        raise unknown_choice(option, name, all_formats())
    return all_formats()[name]


def format_of(name: str) -> tuple[Format, str | None] | None:
    """Format and compression of a file by its name, whatever its case; None for names that are not read."""
    name = name.lower()
    for short, full in SHORT_NAMES.items():
        if name.endswith(short):
            name = name.removesuffix(short) + full
    stem, suffix = os.path.splitext(name)
    compression = COMPRESSIONS.get(suffix)
    if compression:
        suffix = os.path.splitext(stem)[1]
    found = by_suffix().get(suffix)
    if found is None or (compression and not found.compressible):
        return None
    return found, compression


def described() -> str:
    """The formats in a line: `.csv, .tsv, .txt (each also .gz, .zst, .bz2), .parquet`."""
    compressible = [suffix for one in all_formats().values() if one.compressible for suffix in one.suffixes]
    others = [suffix for one in all_formats().values() if not one.compressible for suffix in one.suffixes]
    return f"{', '.join(compressible)} (each also {', '.join(COMPRESSIONS)}) and {', '.join(others)}"


@cache
def by_suffix() -> dict[str, Format]:
    """Every format by each of its suffixes."""
    return {suffix: one for one in all_formats().values() for suffix in one.suffixes}
