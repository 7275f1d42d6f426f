"""How a table of text is written: what stands for what is not told, and the stream turned into UTF-8."""

import logging
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from pipeline.readers.base import Dialect, Source

log = logging.getLogger(__name__)

SAMPLE_BYTES = 1 << 20
"""As much of a file's beginning is looked at."""

DEFAULTS = {"tsv": Dialect(delimiter="\t", quote="", encoding="utf-8")}
"""Formats that say more than that they are tables of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sniffed:
    """How a table of text is written. `quote` is empty where nothing is quoted."""

    delimiter: str
    quote: str
    encoding: str
    has_header: bool = True


def resolved(source: Source, given: Dialect, sample: bytes) -> Sniffed:
    """What is given, else what the format says."""
    default = DEFAULTS.get(source.format, Dialect(delimiter=",", quote='"', encoding="utf-8"))
    return Sniffed(
        delimiter=given.delimiter or default.delimiter or ",",
        quote=(default.quote if given.quote is None else given.quote) or "",
        encoding=given.encoding or default.encoding or "utf-8",
    )


def read_fully(stream: pa.NativeFile, size: int) -> bytes:
    """So many bytes, less only where the stream ends; a decompressing stream gives them in smaller parts."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def utf8_blocks(source: Source, stream: pa.NativeFile, sample: bytes, encoding: str, block_bytes: int) -> Iterator[bytes]:
    """The sample and what follows it, in blocks of UTF-8 without a byte order mark."""
    blocks = _blocks(stream, sample, block_bytes)
    first = next(blocks, b"")
    yield first.removeprefix(BOM_UTF8)
    yield from blocks


def _blocks(stream: pa.NativeFile, sample: bytes, block_bytes: int) -> Iterator[bytes]:
    yield from (sample[start : start + block_bytes] for start in range(0, len(sample), block_bytes))
    while block := read_fully(stream, block_bytes):
        yield block
