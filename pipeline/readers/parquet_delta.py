"""How long the strings of a Parquet page are, whose lengths are stored as differences.

`DELTA_LENGTH_BYTE_ARRAY` stores all lengths, then all strings. `DELTA_BYTE_ARRAY` stores each string as the length of the
prefix that it shares with the one before, and the rest, so that a page of a megabyte can hold thousands of strings of a
megabyte.

Source: `Encodings.md` of parquet-format.
"""

import numpy as np
import numpy.typing as npt

DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY = 6, 7
"""Their numbers among the encodings."""
MOST_VALUES = 1 << 22
"""More are not looked at: their lengths alone would take 64 MB."""


def longest_string(content: bytes, at: int, encoding: int) -> int:
    """The length in bytes of the longest string.

    Args:
        content: of a page, decompressed.
        at: where its values begin, behind the levels.
        encoding: one of the two.

    Raises:
        ValueError: the content is not in this encoding, or holds more than `MOST_VALUES` strings.
    """
    prefixes, at = _integers(content, at)
    if encoding == DELTA_LENGTH_BYTE_ARRAY:
        return int(prefixes.max(initial=0))
    suffixes, _ = _integers(content, at)
    if len(prefixes) != len(suffixes):
        raise ValueError("as many prefixes as suffixes expected")
    return int((prefixes + suffixes).max(initial=0))


def _integers(content: bytes, at: int) -> tuple[npt.NDArray[np.int64], int]:
    """Integers as `DELTA_BINARY_PACKED`, and the place behind them."""
    block, at = _varint(content, at)
    parts, at = _varint(content, at)
    count, at = _varint(content, at)
    first, at = _zigzag(content, at)
    if count > MOST_VALUES or not parts or not block or block > MOST_VALUES or block % (8 * parts):
        raise ValueError(f"{count:,} integers in blocks of {block:,}")
    deltas = np.zeros(max(count - 1, 0), np.int64)
    size, done = block // parts, 0
    while done < len(deltas):
        least, at = _zigzag(content, at)
        widths, at = content[at : at + parts], at + parts
        for width in widths:
            if done >= len(deltas):
                break
            part = _unpacked(content, at, size, width)[: len(deltas) - done]
            deltas[done : done + len(part)] = part + np.int64(least)
            done, at = done + len(part), at + size * width // 8
        if len(widths) < parts:
            raise ValueError("the page ends early")
    if not count:
        return deltas, at
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(deltas)]) + np.int64(first), at


def _unpacked(content: bytes, at: int, count: int, width: int) -> npt.NDArray[np.int64]:
    """Integers of so many bits each, the lowest first."""
    if width > 32 or at + count * width // 8 > len(content):
        raise ValueError("the page ends early")  # lengths are 32-bit integers
    bits = np.unpackbits(np.frombuffer(content, np.uint8, count * width // 8, at), bitorder="little")
    return bits.reshape(count, width) @ (np.int64(1) << np.arange(width, dtype=np.int64))


def _zigzag(content: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(content, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        if at >= len(content):
            break
        byte, at = content[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 63:
                break
            return value, at
        shift += 7
    raise ValueError("the page ends early")
