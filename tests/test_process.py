"""Freed memory is reused, by the next step, without new page faults, and by other threads; or it is given back."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

CODE = """
import resource, sys
if sys.argv[1] == "keep":
    from pipeline.process import keep_freed_memory
    keep_freed_memory()

def faults_of_a_step() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"x" * (megabytes << 20) for megabytes in (48, 20, 40)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for _ in range(10):
    faults_of_a_step()
print(max(faults_of_a_step() for _ in range(5)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_pages_are_kept_between_steps() -> None:
    def faults(how: str) -> int:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, env=environment, check=True)
        return int(done.stdout)

    assert faults("leave") > 2000, "108 MB are 27,000 pages"
    assert faults("keep") < 500


THREADS = """
import sys, threading
from pipeline.process import share_freed_memory
if sys.argv[1] == "share":
    share_freed_memory()
pins, done = [], threading.Barrier(9)

def passes_a_thread_on_its_memory(turn: threading.Lock) -> None:
    with turn:
        blocks = [bytearray(100_000) for _ in range(300)]
        pins.append(bytearray(100_000))  # lies above the others, which glibc can then not cut off
        del blocks
    done.wait()

turn = threading.Lock()
for _ in range(8):
    threading.Thread(target=passes_a_thread_on_its_memory, args=(turn,)).start()
done.wait()
print(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_threads_share_what_they_free() -> None:
    def resident_mb(how: str) -> float:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "0"}
        done = subprocess.run(
            [sys.executable, "-c", THREADS, how], capture_output=True, text=True, env=environment, check=True
        )
        return int(done.stdout) / 1024

    assert resident_mb("share") < resident_mb("leave") - 60, "eight threads, 30 MB each, one after the other"


TUNED = """
import os, sys
from pipeline import process
process.tune(sys.argv[1])
import pyarrow
print(pyarrow.default_memory_pool().backend_name, os.environ.get("GOMP_SPINCOUNT"))
"""


def test_a_command_tunes_its_own_process_and_leaves_what_people_have_set() -> None:
    def tuned(command: str, **environment: str) -> list[str]:
        set_by_us = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "ARROW_DEFAULT_MEMORY_POOL")
        kept = {name: value for name, value in os.environ.items() if name not in set_by_us}
        found = subprocess.run(
            [sys.executable, "-c", TUNED, command],
            capture_output=True,
            text=True,
            env={**kept, "PYTHONPATH": str(ROOT), **environment},
            check=True,
        )
        return found.stdout.split()

    ours = "jemalloc" if sys.platform.startswith("linux") else "system"
    assert tuned("ingest") == [ours, "1000"]
    assert tuned("score")[0] != ours
    assert tuned("ingest", GOMP_SPINCOUNT="7", ARROW_DEFAULT_MEMORY_POOL="system") == ["system", "7"]
    assert tuned("train", OMP_WAIT_POLICY="passive")[1] == "None"


FREED = """
from pipeline.process import give_freed_memory_back

def resident() -> int:
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

blocks = [bytearray(10_000) for _ in range(8_000)]
pin = bytearray(10_000)  # lies above the others, which glibc can then not cut off
del blocks
before = resident()
give_freed_memory_back()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_freed_memory_is_given_back() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, env=environment, check=True)
    assert int(done.stdout) > 60_000, "of 80 MB, in kilobytes"
