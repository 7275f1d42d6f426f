"""How glibc's malloc treats the memory of tensors.

A training step allocates and frees hundreds of megabytes. glibc gives large blocks back to the kernel as soon as they are
free, and every step pays for fresh, zeroed pages again: of a `bilstm` step on two threads that was a third.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Lets this process keep up to a gigabyte of freed memory for its next allocations; nothing where there is no glibc.

    Peak memory stays as it was: what is kept had been in use.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
