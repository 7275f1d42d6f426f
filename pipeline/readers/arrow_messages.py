"""How large the batches of an Arrow file become, from their messages: known before Arrow decompresses them.

A record batch, and a dictionary, is decompressed whole: 70 KB on the disk can ask for gigabytes.

Source: `Message.fbs` of Arrow's format, a FlatBuffer behind the length of each message.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

FILE_MAGIC = b"ARROW1"
CONTINUES = 0xFFFFFFFF
MOST_METADATA_BYTES = 64 << 20
DICTIONARY_BATCH, RECORD_BATCH = 2, 3


@dataclass(frozen=True, slots=True)
class Message:
    """A batch. Sizes in bytes: on the disk, and decompressed (0 where it is not compressed)."""

    is_dictionary: bool
    stored: int
    decompressed: int


def messages(path: Path) -> Iterator[Message]:
    """The batches of a file, in their order.

    Raises:
        OSError: there is something else than a message.
    """
    with path.open("rb") as file:
        if file.read(len(FILE_MAGIC)) == FILE_MAGIC:
            file.seek(8)
        else:
            file.seek(0)
        while True:
            place = file.tell()
            try:
                size = _length(file)
                if not size:
                    return
                table = _Table.root(file.read(size))
                body, stored = file.tell(), table.integer(3, "<q")
                kind = table.integer(1, "<B")
                if kind in (DICTIONARY_BATCH, RECORD_BATCH):
                    batch = table.table(2)
                    batch = batch.table(1) if batch is not None and kind == DICTIONARY_BATCH else batch
                    size = 0 if batch is None else _decompressed(file, body, batch)
                    yield Message(kind == DICTIONARY_BATCH, stored, size)
                if stored < 0:
                    raise ValueError
                file.seek(body + stored)
            except (struct.error, ValueError) as error:
                raise OSError(f"no Arrow message at byte {place:,}") from error


def _length(file: BinaryIO) -> int:
    """The length of the next message's metadata; 0 at the end."""
    head = file.read(4)
    if len(head) < 4:
        return 0
    (size,) = struct.unpack("<I", head)
    if size == CONTINUES:  # as of Arrow 0.15
        (size,) = struct.unpack("<I", file.read(4))
    if size > MOST_METADATA_BYTES:
        raise ValueError
    return int(size)


def _decompressed(file: BinaryIO, body: int, batch: "_Table") -> int:
    """Bytes of all buffers of a batch; each compressed one begins with its length."""
    if batch.table(3) is None:
        return 0
    total = 0
    for offset, length in batch.pairs(2):
        if length >= 8:
            file.seek(body + offset)
            (size,) = struct.unpack("<q", file.read(8))
            total += length if size < 0 else size  # -1: this one is not compressed
    return total


class _Table:
    """A table of a FlatBuffer. Its methods raise `struct.error` where the content ends early."""

    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at
        self.fields = at - struct.unpack_from("<i", content, at)[0]
        (self.size,) = struct.unpack_from("<H", content, self.fields)

    @classmethod
    def root(cls, content: bytes) -> "_Table":
        return cls(content, struct.unpack_from("<I", content)[0])

    def integer(self, field: int, kind: str) -> int:
        """A number; 0 where it is left out."""
        at = self._place(field)
        return 0 if at is None else int(struct.unpack_from(kind, self.content, at)[0])

    def table(self, field: int) -> "_Table | None":
        at = self._place(field)
        return None if at is None else _Table(self.content, at + struct.unpack_from("<I", self.content, at)[0])

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """A vector of structs of two 64-bit integers."""
        at = self._place(field)
        if at is None:
            return
        at += struct.unpack_from("<I", self.content, at)[0]
        (count,) = struct.unpack_from("<I", self.content, at)
        for number in range(count):
            first, second = struct.unpack_from("<qq", self.content, at + 4 + 16 * number)
            if first < 0 or second < 0:
                raise ValueError
            yield first, second

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if self.fields < 0 or entry + 2 > self.size:
            return None
        (offset,) = struct.unpack_from("<H", self.content, self.fields + entry)
        return self.at + offset if offset else None
