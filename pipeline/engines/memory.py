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

    320 steps of `bilstm` 128: 0.34 million page faults instead of 21 million, for a peak of 1,546 MiB instead of 1,203,
    since blocks of many sizes do not fit into each other's holes. The peak does not grow with the number of steps.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
