"""How large the pages of a Parquet file become, from their headers: known before Arrow makes room for them.

A row group is read page by page, and a page is decompressed whole. A value that a dictionary holds once becomes as many
copies as there are rows. So 40 KB on the disk can ask for gigabytes, and the file's footer does not tell.

Source: `parquet.thrift` of parquet-format, in Thrift's compact protocol.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.readers.parquet_delta import DELTA_BYTE_ARRAY, DELTA_LENGTH_BYTE_ARRAY, longest_string

HEADER_BYTES = 1 << 10
"""As much of a page's header is read at first; it is longer only where it holds long statistics."""
MOST_HEADER_BYTES = 16 << 20
MOST_FOOTER_BYTES = 1 << 20
"""Larger footers are not searched, which would take seconds."""
CODECS = 8
"""Codecs are numbered from 0, no compression, to 7, LZ4_RAW."""
DICTIONARY_PAGE = 2
PLAIN = 0
_VALUES_OF = {5: 1, 7: 1, 8: 1}
"""Where the number of values is: the field of the page's kind, and the field in there."""
_DATA, _DATA_2 = 5, 8
"""The fields of data pages, of version 1 and 2."""
_INTEGERS, _BINARY, _LISTS, _STRUCT = (4, 5, 6), 8, (9, 10), 12
_TRUE, _FALSE, _BYTE, _DOUBLE = 1, 2, 3, 7


@dataclass(frozen=True, slots=True)
class Page:
    """Sizes in bytes of a page's data.

    Args:
        shared: the longest string where strings share their bytes: in a dictionary, or with the one before; else 0.
        longest: the longest string, if the page is large enough to hold one that is too long; else 0.
    """

    size: int
    values: int
    is_dictionary: bool
    shared: int = 0
    longest: int = 0


def pages(path: Path, chunk: pq.ColumnChunkMetaData, leaf: pq.ColumnSchema, allowed: int) -> Iterator[Page]:
    """The pages of a column in a row group, in their order.

    Args:
        leaf: the column's type.
        allowed: larger pages are searched for their longest string.

    Raises:
        OSError: the file cannot be read, or has no page where there has to be one.
    """
    start = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)), default=0)
    end = start + chunk.total_compressed_size
    with path.open("rb", buffering=0) as file:
        while start < end:
            header, length = _header(file.fileno(), start)
            kind, size, compressed = (_number(header, field, start) for field in (1, 2, 3))
            of_kind: dict[int, Any] = next(
                (header[field] for field in _VALUES_OF if isinstance(header.get(field), dict)), {}
            )
            values = _number(of_kind, 1, start)
            is_dictionary = kind == DICTIONARY_PAGE
            encoding = _encoding(header)
            shared = longest = 0
            if is_dictionary and chunk.physical_type == "FIXED_LEN_BYTE_ARRAY":
                shared = leaf.length
            elif chunk.physical_type == "BYTE_ARRAY":
                prefixed = encoding == DELTA_BYTE_ARRAY
                if is_dictionary or prefixed or (size > allowed and encoding in (PLAIN, DELTA_LENGTH_BYTE_ARRAY)):
                    content = os.pread(file.fileno(), min(compressed, end - start), start + length)
                    longest = _longest(_Content(content, size, values, chunk.compression), header, leaf, encoding)
                shared = longest if is_dictionary or prefixed else 0
            yield Page(size, values, is_dictionary, shared, longest)
            start += length + compressed


def check_footer(path: Path, leaves: Sequence[pq.ColumnSchema]) -> None:
    """Refuses a footer whose description of a column would make Arrow end the process: it throws where nobody catches.

    Raises:
        OSError: an unknown compression, or counts that do not fit the column's type.
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) - 8
        file.seek(max(end, 0))
        (length,) = struct.unpack("<I", file.read(4).ljust(4, b"\0"))
        if not 0 < length <= min(end, MOST_FOOTER_BYTES):
            return
        content = os.pread(file.fileno(), length, end - length)
    try:
        footer = _Compact(content).struct()
    except IndexError:
        return  # whatever it is, Arrow says so
    for group in _items(footer, 4):
        for chunk, leaf in zip(_items(group, 1), leaves, strict=False):
            described = _fields(_fields(chunk).get(3))
            if described.get(4) not in range(CODECS):
                raise OSError(f"the footer names an unknown compression of column {leaf.path!r}")
            counts = _fields(described.get(16))
            if 1 in counts and leaf.physical_type != "BYTE_ARRAY":
                raise OSError(f"the footer counts bytes of strings of column {leaf.path!r}, which is {leaf.physical_type}")
            for field, levels in ((2, leaf.max_repetition_level), (3, leaf.max_definition_level)):
                found = len(_items(counts, field))
                if found not in (0, levels + 1):
                    raise OSError(f"the footer counts {found} levels of column {leaf.path!r}, not {levels + 1}")


def _fields(value: Any) -> dict[int, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any, field: int) -> list[Any]:
    found = _fields(value).get(field)
    return found if isinstance(found, list) else []


def _number(fields: dict[int, Any], field: int, at: int) -> int:
    """A field that is a size or a count; 0 where it is left out.

    Raises:
        OSError: it is neither.
    """
    value = fields.get(field, 0)
    if not isinstance(value, int) or value < 0:
        raise OSError(f"no page at byte {at:,}")
    return value


@dataclass(frozen=True, slots=True)
class _Content:
    """A page as it is in the file; `size` bytes and so many values once it is decompressed."""

    content: bytes
    size: int
    values: int
    codec: str

    def decompressed(self, levels: int = 0) -> bytes:
        """The page; in front, `levels` bytes may be as they are."""
        if self.codec == "UNCOMPRESSED":
            return self.content
        codec = "lz4_raw" if self.codec == "LZ4" else self.codec.lower()
        found = pa.decompress(self.content[levels:], self.size - levels, codec, asbytes=True)
        return self.content[:levels] + found if levels else bytes(found)


def _encoding(header: dict[int, Any]) -> int | None:
    """The encoding of a data page's values."""
    for kind, field in ((_DATA, 2), (_DATA_2, 4)):
        if isinstance(header.get(kind), dict):
            found = header[kind].get(field)
            return found if isinstance(found, int) else None
    return None


def _longest(page: _Content, header: dict[int, Any], leaf: pq.ColumnSchema, encoding: int | None) -> int:
    """The longest string of a page; where it cannot be told, as much as all of them take."""
    is_dictionary = encoding is None
    if page.values <= 1 or (is_dictionary and page.size > MOST_HEADER_BYTES):
        return page.size
    try:
        if is_dictionary:
            return min(_longest_plain(page.decompressed(), 0), page.size)
        of_version_2 = header.get(_DATA_2)
        if isinstance(of_version_2, dict):
            at = _number(of_version_2, 5, 0) + _number(of_version_2, 6, 0)  # the levels, never compressed
            content = page.content if of_version_2.get(7) is False else page.decompressed(at)
        else:
            content, at = page.decompressed(), 0
            for level in (leaf.max_repetition_level, leaf.max_definition_level):
                at += 4 + struct.unpack_from("<I", content, at)[0] if level else 0
        if encoding == PLAIN:
            return min(_longest_plain(content, at), page.size)
        return longest_string(content, at, encoding or 0)
    except (pa.ArrowException, ValueError, OSError, struct.error):
        return page.size


def _longest_plain(content: bytes, at: int) -> int:
    """The longest of strings that are stored one after the other, each behind its length."""
    longest, end, lengths = 0, len(content) - 4, struct.Struct("<I")
    while at <= end:
        (length,) = lengths.unpack_from(content, at)
        if length > longest:
            longest = length
        at += 4 + length
    return longest


def _header(descriptor: int, at: int) -> tuple[dict[int, Any], int]:
    """A page's header by the numbers of its fields, and its length.

    Raises:
        OSError: there is none.
    """
    size = HEADER_BYTES
    while True:
        content = os.pread(descriptor, size, at)
        try:
            reader = _Compact(content)
            return reader.struct(), reader.at
        except (IndexError, struct.error) as error:
            if len(content) < size or size >= MOST_HEADER_BYTES:
                raise OSError(f"no page at byte {at:,}") from error
        size *= 8


class _Compact:
    """Reads Thrift's compact protocol: integers, structs and lists by value, the rest is passed over.

    Raises from its methods:
        IndexError: the content ends early, or is none.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields by their numbers."""
        if depth > 8:
            raise IndexError
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _LISTS:
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            return [
                self._value(_BYTE if head & 15 in (_TRUE, _FALSE) else head & 15, depth + 1)
                for _ in range(min(count, len(self.content) + 1))
            ]
        if kind in (_BINARY, _DOUBLE, _BYTE):
            self._skip({_DOUBLE: 8, _BYTE: 1}.get(kind, -1))
        elif kind in (_TRUE, _FALSE):
            return kind == _TRUE
        else:
            raise IndexError
        return None

    def _skip(self, count: int) -> None:
        count = self._varint() if count < 0 else count
        if self.at + count > len(self.content):
            raise IndexError
        self.at += count

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]
