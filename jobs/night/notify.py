"""The command that a night runs when a person must know something."""

import logging
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 60.0


def notify(command: str, receipt: str, lake: str, log_file: Path) -> str:
    """Runs a shell command with the receipt on its stdin; what it prints goes to the log. Gives what went wrong, or ""."""
    with log_file.open("ab") as output:
        try:
            child = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, "PIPELINE_LAKE": lake},
                start_new_session=True,
            )
        except OSError as error:
            return f"could not be started: {error.strerror}"
        try:
            child.communicate(f"{receipt}\n".encode(), TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"took more than {TIMEOUT_SECONDS:g} s and was killed"
        finally:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    return f"ended with {child.returncode}" if child.returncode else ""
