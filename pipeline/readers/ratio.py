"""How many bytes a compressed file may give."""

from pipeline.readers.bounds import RATIO_FLOOR_BYTES, Bounds


class ExpansionError(ValueError):
    """A compressed file gives far more bytes than it has."""


class Ratio:
    """Counts what comes out of a compressed file.

    Args:
        size: bytes of the file itself.
    """

    def __init__(self, size: int, bounds: Bounds) -> None:
        self._ratio = bounds.ratio
        self._most = max(RATIO_FLOOR_BYTES, bounds.ratio * size)
        self._given = 0

    def add(self, given: int) -> None:
        """Counts bytes.

        Raises:
            ExpansionError: more bytes came out than the bound of the ratio allows.
        """
        self._given += given
        if self._given > self._most:
            raise ExpansionError(
                f"decompresses to more than {self._ratio} times its size, the limit of --max-ratio. Decompress "
                "it first, or raise the limit"
            )
