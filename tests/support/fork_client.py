"""Runs `pipeline ARGUMENTS…` by way of a fork server, with this process's streams: fork_client.py SOCKET ARGUMENTS…"""

import json
import os
import socket
import sys

path, *arguments = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as server:
    server.connect(path)
    socket.send_fds(server, [b"."], [0, 1, 2])
    order = {"arguments": arguments, "cwd": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109  pathlib would take longer than all the rest
    server.sendall(json.dumps(order).encode() + b"\n")
    for descriptor in range(3):
        os.close(descriptor)  # a reader sees the end when the command ends, and the command when the reader ends
    code = int(server.makefile().readline() or 1)
os._exit(code if code >= 0 else 128 - code)
