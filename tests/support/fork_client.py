"""Stands for a process that the fork server forks, with this process's streams: fork_client.py SOCKET KIND ARGUMENTS…

SIGTERM and SIGINT are passed on, SIGQUIT as SIGKILL; this process ends when the fork has ended, with its code. The fork is
in this process's group, so `killpg` reaches both.
"""

import json
import os
import signal
import socket
import sys

PASSED_ON = {signal.SIGQUIT: signal.SIGKILL}
path, kind, *arguments = sys.argv[1:]
order = {
    "kind": kind,
    "arguments": arguments,
    "cwd": os.getcwd(),  # noqa: PTH109  pathlib takes longer to import than all the rest
    "environment": dict(os.environ),
    "group": os.getpgrp(),
}
with socket.socket(socket.AF_UNIX) as server:
    server.connect(path)
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps(order).encode() + b"\n")
    for descriptor in range(3):
        os.close(descriptor)  # a reader sees the end when the command ends, and the command when the reader ends
    answers = server.makefile()
    process = int(answers.readline())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda number, _: os.kill(process, PASSED_ON.get(number, number)))
    code = int(answers.readline())
os._exit(code if code >= 0 else 128 - code)
