"""Gzip files, decompressed by ISA-L, which takes a third of zlib's time.

Whatever is wrong with a file, Arrow says it: where ISA-L stumbles or the file ends early, Arrow reads the file up to there
and goes on. So a damaged file gives the same bytes and the same error with either.
"""

import pyarrow as pa
from isal.igzip_lib import DECOMP_GZIP, IgzipDecompressor, IsalError

BLOCK_BYTES = 1 << 17
"""Compressed bytes read at once."""
MEMBER = b"\x1f\x8b\x08"
"""A gzip file consists of members, each of which begins so; flags are next."""
HEADER_BYTES = len(MEMBER) + 1
UNUSUAL_FLAGS = 0b1110_0010
"""Reserved ones, and that of a checksum of the header, neither of which ISA-L checks."""


class GzipFile:
    """The bytes of a gzip file, decompressed."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self._decompressor = IgzipDecompressor(DECOMP_GZIP)
        self._is_within = False
        """Whether a member has begun and not ended."""
        self._given = 0
        self._arrow: pa.NativeFile | None = None

    def read(self, size: int | None = None) -> bytes:
        """Reads `size` bytes, or everything; returns fewer bytes at the end of the file alone.

        Raises:
            OSError: the file is damaged or truncated, or cannot be read.
        """
        parts: list[bytes] = []
        wanted = size
        while self._arrow is None and wanted != 0:
            part = self._some(-1 if wanted is None else wanted)
            if part is None:
                break
            parts.append(part)
            self._given += len(part)
            wanted = None if wanted is None else wanted - len(part)
        if self._arrow is not None and wanted != 0:
            parts.append(self._arrow.read(wanted))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Closes the file."""
        (self._arrow or self._file).close()

    def _some(self, size: int) -> bytes | None:
        """Some of the next bytes, up to `size` of them; None at the end of the file, or where Arrow has to go on."""
        block = b""
        if self._decompressor.eof:
            block = self._decompressor.unused_data
            self._decompressor, self._is_within = IgzipDecompressor(DECOMP_GZIP), False
        if self._decompressor.needs_input and (self._is_within or len(block) < HEADER_BYTES):
            block += self._more(1 if self._is_within else HEADER_BYTES - len(block))
            if not block and not self._is_within:
                return None
        is_sound = _begins_member(block) if not self._is_within else block or not self._decompressor.needs_input
        if is_sound:
            self._is_within = True
            try:
                return self._decompressor.decompress(block, size)
            except IsalError:  # type: ignore[misc]  # an exception, whatever its stubs say
                pass
        self._to_arrow()
        return None

    def _more(self, least: int) -> bytes:
        """The next compressed bytes: fewer than `least` at the end of the file alone."""
        block = b""
        while len(block) < least and (part := self._file.read(BLOCK_BYTES)):
            block += part
        return block

    def _to_arrow(self) -> None:
        self._file.seek(0)
        self._arrow = pa.CompressedInputStream(self._file, "gzip")
        left = self._given
        while left > 0:
            skipped = len(self._arrow.read(min(left, 1 << 20)))
            if not skipped:
                break
            left -= skipped


def _begins_member(block: bytes) -> bool:
    return len(block) >= HEADER_BYTES and block.startswith(MEMBER) and not block[len(MEMBER)] & UNUSUAL_FLAGS
