"""A file of the index of keys: what some shards hold, sorted by hash, so that a few reads answer a batch of look-ups.

Three sections of fixed-width records: `ids` (key of a review's ID, content, shard), `contents` (content, shard) and
`sources` (key of the file that rows came from, shard). A shard is a number: its place in the header's list. Behind them
stand, for every block of records, its first key and its CRC-32; then the header (JSON); then length and CRC-32 of both.
Nothing of a file is believed whose checksums do not match.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pipeline.lake.atomic import atomic_path
from pipeline.lake.known import Keys
from pipeline.lake.noted import NotedShard

SUFFIX = ".keys"
BLOCK = 256
"""Records of a block, which is read and verified as a whole."""
KEYS = 1024
"""Keys that are looked up at a time: each may need a block of its own."""
LOADED_BYTES = 32 << 20
"""Sections up to this size in bytes are read in one go at the first look-up, and kept."""

Records = npt.NDArray[np.void]
"""(N,) records of a section, sorted by `key`."""
IDS = np.dtype([("key", "<u8"), ("content", "<u8"), ("shard", "<u4")])
PLAIN = np.dtype([("key", "<u8"), ("shard", "<u4")])
SECTIONS = {"ids": IDS, "contents": PLAIN, "sources": PLAIN}
_MAGIC = b"RPKEYS01"
_END = struct.Struct("<QI8s")
_FIRST, _CRC = np.dtype("<u8"), np.dtype("<u4")


class DamagedIndexError(Exception):
    """A file of the index is not what was written, or of another release. Whoever meets it reads the shards instead."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class Section:
    """The records of one kind in an open file. Safe to share between threads."""

    def __init__(self, file: BinaryIO, kind: np.dtype[np.void], begin: int, num_records: int, table: bytes) -> None:
        self._file, self._kind, self._begin = file, kind, begin
        self._num_records = num_records
        self._num_blocks = -(-num_records // BLOCK)
        self._first = np.frombuffer(table, _FIRST, self._num_blocks)
        self._crcs = np.frombuffer(table, _CRC, self._num_blocks, self._first.nbytes)
        self._loaded: tuple[Records, Keys] | None = None

    def find(self, keys: Keys) -> tuple[npt.NDArray[np.int64], Records]:
        """All records with one of the (N,) sorted keys, and the place in `keys` of each one's key.

        Raises:
            DamagedIndexError: a block is not what was written.
        """
        found = [self._find(begin, keys[begin : begin + KEYS]) for begin in range(0, len(keys), KEYS)]
        places = np.concatenate([np.zeros(0, np.int64), *(places for places, _ in found)])
        return places, np.concatenate([np.zeros(0, self._kind), *(records for _, records in found)])

    def _find(self, offset: int, keys: Keys) -> tuple[npt.NDArray[np.int64], Records]:
        records, own = self._around(keys)
        begin, end = np.searchsorted(own, keys, "left"), np.searchsorted(own, keys, "right")
        counts = end - begin
        places = np.repeat(np.arange(len(keys)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return places + offset, records[np.repeat(begin, counts) + within]

    def between(self, low: int, high: int) -> Records:
        """The records with low ≤ key < high.

        Raises:
            DamagedIndexError: a block is not what was written.
        """
        bounds = np.array([low, min(high, 2**64 - 1)], np.uint64)
        begin = max(int(np.searchsorted(self._first, bounds[0], "left")) - 1, 0)
        end = self._num_blocks if high == 2**64 else int(np.searchsorted(self._first, bounds[1], "left"))
        records = self._read(begin, end)
        first = int(np.searchsorted(records["key"], bounds[0], "left"))
        last = len(records) if high == 2**64 else int(np.searchsorted(records["key"], bounds[1], "left"))
        return records[first:last]

    def _around(self, keys: Keys) -> tuple[Records, Keys]:
        """Records in order, among them all that have one of the keys; and their keys."""
        if self._loaded is None and self._num_records * self._kind.itemsize <= LOADED_BYTES:
            records = self._read(0, self._num_blocks)
            self._loaded = records, np.ascontiguousarray(records["key"])
        if self._loaded is not None:
            return self._loaded
        # A key may fill whole blocks and begin in the one before.
        begin = np.maximum(np.searchsorted(self._first, keys, "left") - 1, 0)
        end = np.searchsorted(self._first, keys, "right")
        change = np.zeros(self._num_blocks + 1, np.int64)
        np.add.at(change, begin, end > begin)
        np.subtract.at(change, np.maximum(begin, end), end > begin)
        wanted = np.flatnonzero(np.cumsum(change))
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1) if len(wanted) else []
        parts = [self._read(int(run[0]), int(run[-1]) + 1) for run in runs]
        records = np.concatenate([np.zeros(0, self._kind), *parts])
        return records, np.ascontiguousarray(records["key"])

    def _read(self, begin: int, end: int) -> Records:
        """The blocks [begin, end), verified."""
        if begin >= end:
            return np.zeros(0, self._kind)
        bytes_of_block = BLOCK * self._kind.itemsize
        size = min(end * BLOCK, self._num_records) * self._kind.itemsize - begin * bytes_of_block
        try:
            content = memoryview(_read_at(self._file, size, self._begin + begin * bytes_of_block))
        except OSError as error:
            raise DamagedIndexError(Path(self._file.name), error) from error
        for number in range(begin, end):
            offset = (number - begin) * bytes_of_block
            if zlib.crc32(content[offset : offset + bytes_of_block]) != self._crcs[number]:
                raise DamagedIndexError(Path(self._file.name), f"block {number} has changed")
        return np.frombuffer(content, self._kind)


class IndexFile:
    """An open file of the index."""

    def __init__(self, path: Path, tokens: Path) -> None:
        """Opens it; `tokens` is the table's folder.

        Raises:
            DamagedIndexError: it is not what was written, not there, or of another release.
        """
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise DamagedIndexError(path, error) from error
        try:
            tables, header = self._ending()
            self.shards = tuple(NotedShard.from_json(noted, tokens) for noted in header["shards"])
            self.sections: dict[str, Section] = {}
            begin = offset = 0
            for (name, kind), num_records in zip(SECTIONS.items(), header["records"], strict=True):
                length = -(-num_records // BLOCK) * (_FIRST.itemsize + _CRC.itemsize)
                table = tables[offset : offset + length]
                self.sections[name] = Section(self._file, kind, begin, num_records, table)
                begin, offset = begin + num_records * kind.itemsize, offset + length
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._file.close()
            raise DamagedIndexError(path, error) from error

    def close(self) -> None:
        """Closes it; nothing can be looked up any more."""
        self._file.close()

    def _ending(self) -> tuple[bytes, dict[str, Any]]:
        """What stands behind the records: the blocks' tables, and the header."""
        size = os.fstat(self._file.fileno()).st_size
        if size < _END.size:
            raise ValueError("too short")
        length, crc, magic = _END.unpack(_read_at(self._file, _END.size, size - _END.size))
        if magic != _MAGIC or length > size - _END.size:
            raise ValueError("not an index of this release")
        content = _read_at(self._file, length, size - _END.size - length)
        if zlib.crc32(content) != crc:
            raise ValueError("its end has changed")
        tables, _, header = content.rpartition(b"\n")
        found: dict[str, Any] = json.loads(header)
        return tables, found


def write_index_file(path: Path, shards: Sequence[NotedShard], sections: Iterable[Iterable[Records]]) -> None:
    """Writes a file of the index, which appears whole or not at all.

    It is not synced to the disk: the checksums show what a power cut has torn.

    Args:
        sections: in the order of `SECTIONS`, each in parts of which every one continues the order of the one before.

    Raises:
        CannotWriteError: no permission, no space.
    """
    tables, counts = [], []
    with atomic_path(path, sync=False) as temporary, temporary.open("wb") as file:
        for parts, kind in zip(sections, SECTIONS.values(), strict=True):
            first, crcs = [np.zeros(0, np.uint64)], []
            rest, num_records = np.zeros(0, kind), 0
            for part in parts:
                num_records += len(part)
                records = np.concatenate([rest, part])
                whole = len(records) // BLOCK * BLOCK
                first.append(records["key"][:whole:BLOCK].copy())  # a view would keep all records
                crcs += _write_blocks(file, records[:whole])
                rest = records[whole:]
            first.append(rest["key"][:1])
            crcs += _write_blocks(file, rest)
            tables.append(np.concatenate(first).astype(_FIRST).tobytes() + np.array(crcs, _CRC).tobytes())
            counts.append(num_records)
        header = json.dumps({"records": counts, "shards": [shard.to_json() for shard in shards]})
        ending = b"".join(tables) + b"\n" + header.encode()
        file.write(ending + _END.pack(len(ending), zlib.crc32(ending), _MAGIC))


def _write_blocks(file: BinaryIO, records: Records) -> list[int]:
    """Writes the records; gives the CRC-32 of each block of them."""
    content = memoryview(records.tobytes())
    step = BLOCK * records.itemsize
    file.write(content)
    return [zlib.crc32(content[at : at + step]) for at in range(0, len(content), step)]


def _read_at(file: BinaryIO, size: int, offset: int) -> bytes:
    """`size` bytes at an offset.

    Raises:
        OSError: there are fewer.
    """
    parts = []
    while size:
        part = os.pread(file.fileno(), size, offset)
        if not part:
            raise OSError("it is too short")
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
