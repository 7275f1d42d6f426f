"""Commands that the tests fork are processes like any other to what runs beside them."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT

BESIDE_A_STOPPED_PROCESS = """
import os, pathlib, signal, subprocess, sys
from tests.support.commands import run_process
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
sleeper.send_signal(signal.SIGSTOP)
os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
code = run_process("--version").code
status = pathlib.Path(f"/proc/{sleeper.pid}/stat").read_text()
sleeper.kill()
print(code, status.rpartition(")")[2].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_stopped_process_stays_stopped_when_a_forked_command_ends() -> None:
    """In a session of its own, whose only process group hangs by nothing else, as in CI or under cron."""
    command = [sys.executable, "-c", BESIDE_A_STOPPED_PROCESS]
    done = subprocess.run(command, cwd=ROOT, start_new_session=True, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "0 T\n"), done.stderr
