"""Freed memory is used again: a step does not pay for pages that the step before it had."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

CODE = """
import resource, sys
import torch
if sys.argv[1] == "keep":
    from pipeline.engines.memory import keep_freed_memory
    keep_freed_memory()

def faults_of_a_step() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(megabytes << 18) for megabytes in (48, 20, 40)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for _ in range(10):
    faults_of_a_step()
print(max(faults_of_a_step() for _ in range(5)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_pages_are_kept_between_steps() -> None:
    def faults(how: str) -> int:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "THP_MEM_ALLOC_ENABLE": "0"}
        done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, env=environment, check=True)
        return int(done.stdout)

    assert faults("leave") > 2000, "108 MB are 27,000 pages"
    assert faults("keep") < 500
