"""How this process uses memory and threads, and how it ends: what the entry point of a command sets for all of it.

Libraries leave such things to the program that they are part of, so nothing below the command line calls `tune` or `end`.
What each choice gains, the functions say; whoever has set an environment variable of these libraries keeps it.
"""

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

SPIN_COUNT = "1000"
"""How long threads of torch's kernels spin before they sleep (libgomp; some microseconds). Its default of 300,000 makes a
training step up to ten times as long where other processes want the cores; never to spin makes it 1.6 (bilstm) to 2 times
(rnn) as long where they are free. With this it costs a tenth where they are free, and least where they are not."""

TRAINS = frozenset({"train", "crossval", "pretrain"})
INGESTS = frozenset({"ingest", "repair", "upgrade"})

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""
KEPT_BYTES = 1 << 30
SHARED_ARENAS = 2


def tune(command: str) -> None:
    """Sets the process up for a command, before its libraries are imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    if command in TRAINS:
        keep_freed_memory()
    if command in INGESTS:
        pass_blocks_on()
        share_freed_memory()


def end(code: int) -> NoReturn:
    """Ends the process without taking the interpreter down.

    Every file was closed and every lock given back by then, and the modules of torch alone take 0.4 s to be unloaded.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keeps the garbage collector from searching, over and over, what the imports in the block make and keep: a tenth of
    the time that torch's takes. What they have made is not searched later either."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def keep_freed_memory() -> None:
    """Lets this process keep up to a gigabyte of freed memory for its next allocations; glibc's malloc only.

    A training step allocates and frees hundreds of megabytes. glibc gives large blocks back to the kernel as soon as they
    are free, and every step pays for fresh, zeroed pages again: of a `bilstm` step on two threads that was a third.

    320 steps of `bilstm` 128: 0.34 million page faults instead of 21 million, for a peak of 1,546 MiB instead of 1,203,
    since blocks of many sizes do not fit into each other's holes. The peak does not grow with the number of steps.
    """
    _set({M_MMAP_THRESHOLD: KEPT_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES})


def pass_blocks_on() -> None:
    """Has Arrow take its memory from jemalloc with one arena for all threads; on Linux, where its wheels have it.

    Ingest passes blocks from thread to thread. Arrow's default allocator keeps more of them, 150 MB at the peak. The C
    library's gives every block back to the kernel and asks for fresh, zeroed pages again: 1.6 million page faults instead of
    0.3 million for 1.2 million files, a tenth of the time. An arena for each thread takes 20 MB more.
    """
    pool = "jemalloc" if sys.platform.startswith("linux") else "system"
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", pool)
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", "narenas:1")


def share_freed_memory() -> None:
    """Lets the threads that are yet to begin share what each of them frees; glibc's malloc only.

    Ingest passes blocks from thread to thread: one reads them, another frees them. glibc gives every thread an arena, and
    what was freed in one serves no other. Ingest of a CSV file of 600 MB: a peak of 680 to 770 MB instead of 860 to 1,000,
    in no more time.
    """
    _set({M_ARENA_MAX: SHARED_ARENAS})


def give_freed_memory_back() -> None:
    """Returns what the C library's malloc holds of freed memory to the system; glibc only. Takes milliseconds, and the pages
    are fresh ones when they are needed again: for the end of a phase that needed other blocks than the next one."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _set(parameters: dict[int, int]) -> None:
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in parameters.items():
            mallopt(parameter, value)
