"""How large the pages of a Parquet file become, from their headers: known before Arrow makes room for them.

A row group is read page by page, and a page is decompressed whole. A value that a dictionary holds once becomes as many
copies as there are rows. So 40 KB on the disk can ask for gigabytes, and the file's footer does not tell.

Source: `parquet.thrift` of parquet-format, in Thrift's compact protocol.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HEADER_BYTES = 1 << 10
"""As much of a page's header is read at first; it is longer only where it holds long statistics."""
MOST_HEADER_BYTES = 16 << 20
DICTIONARY_PAGE = 2
_VALUES_OF = {5: 1, 7: 1, 8: 1}
"""Where the number of values is: the field of the page's kind, and the field in there."""
_INTEGERS, _BINARY, _LISTS, _STRUCT = (4, 5, 6), 8, (9, 10), 12
_TRUE, _FALSE, _BYTE, _DOUBLE = 1, 2, 3, 7


@dataclass(frozen=True, slots=True)
class Page:
    """Sizes in bytes of a page's data. `longest`: the longest value of a dictionary of strings, else 0."""

    size: int
    values: int
    is_dictionary: bool
    longest: int = 0


def pages(path: Path, chunk: pq.ColumnChunkMetaData) -> Iterator[Page]:
    """The pages of a column in a row group, in their order.

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
            longest = 0
            if is_dictionary and chunk.physical_type == "BYTE_ARRAY":
                content = os.pread(file.fileno(), min(compressed, end - start), start + length)
                longest = _longest(content, size, values, chunk.compression)
            yield Page(size, values, is_dictionary, longest)
            start += length + compressed


def _number(fields: dict[int, Any], field: int, at: int) -> int:
    """A field that is a size or a count; 0 where it is left out.

    Raises:
        OSError: it is neither.
    """
    value = fields.get(field, 0)
    if not isinstance(value, int) or value < 0:
        raise OSError(f"no page at byte {at:,}")
    return value


def _longest(content: bytes, size: int, values: int, codec: str) -> int:
    """The longest value of a dictionary page; at most as much as all of them take, where it cannot be decompressed."""
    if values <= 1 or size > MOST_HEADER_BYTES:
        return size
    if codec != "UNCOMPRESSED":
        try:
            content = pa.decompress(content, size, "lz4_raw" if codec == "LZ4" else codec.lower(), asbytes=True)
        except (pa.ArrowException, ValueError, OSError):
            return size
    longest = at = 0
    while at + 4 <= len(content):
        (length,) = struct.unpack_from("<I", content, at)
        longest = max(longest, length)
        at += 4 + length
    return min(longest, size)


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
    """Reads Thrift's compact protocol: integers and structs by value, the rest is passed over.

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
            for _ in range(count):
                self._value(_BYTE if head & 15 in (_TRUE, _FALSE) else head & 15, depth + 1)
        elif kind in (_BINARY, _DOUBLE, _BYTE):
            self._skip({_DOUBLE: 8, _BYTE: 1}.get(kind, -1))
        elif kind not in (_TRUE, _FALSE):
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
