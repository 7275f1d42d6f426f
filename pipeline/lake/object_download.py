"""One object on its way from an object store into a file, in as many requests as it takes."""

import hashlib
import time
from collections.abc import Callable
from typing import IO, Any

from pipeline.errors import DataError, StorageUnavailableError
from pipeline.lake.store import StoreChangedError, StoreMissingError

SHA256 = "sha256"
"""Metadata: the digest of the content, in hex."""
CHUNK_BYTES = 4 << 20
HANG_UPS = 5
"""How often in a row the server may hang up without having sent anything new."""
PAUSE_SECONDS = 0.2


class Download:
    """Receives an object and continues where the server hung up.

    Args:
        get: asks for the object with these options of obstore's `get`; raises errors of ours.
        translated: an error of ours for one of obstore's.
        file: empty; at its end, and after `run`, at the end of the content.
    """

    def __init__(
        self, get: Callable[[dict[str, Any]], Any], translated: Callable[[Exception], Exception], file: IO[bytes]
    ) -> None:
        self.get, self.translated, self.file = get, translated, file
        self.received = 0
        self.digest = hashlib.sha256()

    def run(self, name: str) -> Any:
        """Receives the whole object; obstore's description of it, or None if it was replaced by another in the middle.

        Raises:
            StoreMissingError, StorageUnavailableError.
            DataError: the content is not the one that was written.
        """
        result = self.get({})
        meta, expected = result.meta, result.attributes.get(SHA256)
        hung_up = 0
        while True:
            before = self.received
            failure = self._receive(result)
            if self.received >= meta["size"]:
                break
            hung_up = 0 if self.received > before else hung_up + 1
            if hung_up > HANG_UPS:
                reason = failure or f"ended after {self.received:,} of {meta['size']:,} bytes"
                raise StorageUnavailableError(f"{name}: {reason}. Try again later.")
            time.sleep(PAUSE_SECONDS * 2**hung_up)
            try:
                result = self.get({"range": {"offset": self.received}, "if_match": meta["e_tag"]})
            except (StoreChangedError, StoreMissingError):
                return None
        if self.received != meta["size"] or (expected and self.digest.hexdigest() != expected):
            raise DataError(
                f"{name}: the content that arrived is not the one that was written: its SHA-256 is "
                f"{self.digest.hexdigest()}, expected {expected}. Run the same command again; if that does not "
                "help, the object is damaged in the store: restore an older version of it."
            )
        return meta

    def _receive(self, result: Any) -> Exception | None:
        """Receives what one answer contains; the error with which it ended, if any."""
        chunks = iter(result.stream(min_chunk_size=CHUNK_BYTES))
        while True:
            try:
                chunk = next(chunks, None)
            except Exception as error:
                return self.translated(error)
            if chunk is None:
                return None
            self.file.write(chunk)
            self.digest.update(chunk)
            self.received += len(chunk)
