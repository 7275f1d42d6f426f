"""Steps of a night as forks that have imported everything, so that a night takes a second and a shim counts through it.

A night starts its steps with `subprocess.Popen`. `fork_steps` lets it ask a process that was forked from it before it did
anything, so that no thread is lost in the fork. As the kernel would, that process stops the step when the night has ended.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, NoReturn

LOOK_SECONDS = 0.005


def fork_steps() -> None:
    """From now on, steps of this process's night are forks. Call it before anything else runs here."""
    import jobs.night.step as step

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _serve(theirs)
    theirs.close()

    class Fork:
        """What a night uses of `subprocess.Popen`."""

        def __init__(
            self, words: Sequence[str], *, stdout: IO[str], stderr: IO[bytes], env: Mapping[str, str], **_: object
        ) -> None:
            order = {"argv": list(words[len(step.COMMAND) :]), "environment": dict(env)}
            socket.send_fds(ours, [json.dumps(order).encode()], [stdout.fileno(), stderr.fileno()])
            self.pid = int(ours.recv(64))

        def wait(self, timeout: float | None = None) -> int:
            if not select.select([ours], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("step", timeout or 0.0)
            return int(ours.recv(64))

    class Forks:
        """Stands for the module."""

        Popen = Fork
        DEVNULL = subprocess.DEVNULL
        TimeoutExpired = subprocess.TimeoutExpired

    step.subprocess = Forks  # type: ignore[attr-defined,assignment]


def _serve(night: socket.socket) -> NoReturn:
    while True:
        try:
            content, streams, _, _ = socket.recv_fds(night, 1 << 20, 2)
        except ConnectionResetError:  # the night was killed before it had read an answer
            os._exit(0)
        if not content:
            os._exit(0)
        order = json.loads(content)
        child = os.fork()
        if child == 0:
            night.close()
            _become(order, streams)
        for descriptor in streams:
            os.close(descriptor)
        with suppress(OSError):
            night.send(str(child).encode())
        code = _wait(child, night)
        with suppress(OSError):
            night.send(str(code).encode())


def _wait(child: int, night: socket.socket) -> int:
    """Waits for a step; stops it if the night ends before."""
    is_stopped = False
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if not is_stopped and select.select([night], [], [], 0)[0]:
            is_stopped = True
            os.kill(child, signal.SIGTERM)
        time.sleep(LOOK_SECONDS)


def _become(order: dict[str, Any], streams: list[int]) -> NoReturn:
    import pipeline.cli.app as app

    os.setpgid(0, 0)
    for number, descriptor in enumerate(streams, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["pipeline", *order["argv"]]
    code = app.run_command_line()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
