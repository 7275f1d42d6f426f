"""Whether a store keeps the laws that a lake rests on: asked once, before a lake is first written to."""

import secrets
import time
from contextlib import suppress

from pipeline.errors import PipelineError
from pipeline.lake.store import ABSENT, Over, Store, StoreChangedError, StoreUnsupportedError

NAMES = ".probe/"
"""The objects of a probe begin with this; a probe removes its own."""
MOST_SKEW_SECONDS = 10.0
"""A lease of a minute allows this."""


def check_conditional_writes(store: Store) -> float | None:
    """Writes an object under conditions that hold, and under some that do not.

    Returns:
        How many seconds the store's clock is ahead of this machine's; None if it does not say.

    Raises:
        StoreUnsupportedError: the store ignores conditions, or does not know them.
        StorageUnavailableError, CannotWriteError: it does not answer, or refuses.
    """
    name = f"{NAMES}{secrets.token_hex(8)}"
    try:
        before = time.time()
        first = _write(store, name, ABSENT, holds=True)
        after = time.time()
        written = store.stat(name)
        _write(store, name, ABSENT, holds=False)
        _write(store, name, first, holds=True)
        _write(store, name, first, holds=False)
    finally:
        with suppress(PipelineError):
            store.remove([name])
    if written is None or not written.modified:
        return None
    # The store wrote it between `before` and `after`, and may have rounded that down to a second.
    return max(0.0, written.modified - after) - max(0.0, before - written.modified - 1)


def _write(store: Store, name: str, over: str | Over, *, holds: bool) -> str:
    """Writes if the condition `holds`, and else expects that the store refuses to."""
    header = "If-None-Match" if over is ABSENT else "If-Match"
    try:
        stamp = store.write(name, secrets.token_bytes(8), over=over).stamp
    except StoreChangedError:
        if holds:
            raise _unsupported(store, header) from None
        return ""
    except StoreUnsupportedError as error:
        raise _unsupported(store, header) from error
    if not holds:
        raise _unsupported(store, header)
    return stamp


def _unsupported(store: Store, header: str) -> StoreUnsupportedError:
    return StoreUnsupportedError(
        f"{store.uri} does not support conditional writes ({header}), which keep two runs from overwriting each other's "
        "commits. Use a storage that does, such as Amazon S3, Google Cloud Storage, Azure or MinIO, or put the lake into a "
        "folder."
    )
