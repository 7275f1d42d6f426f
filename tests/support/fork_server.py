"""Command lines as processes that need no start of Python: each is forked from a process that has imported everything.

A start of Python with torch takes two seconds of a core, a fork a few hundredths. Streams, terminal, working folder,
environment, signals and exit code are the command's own. Imports and what is set before them are not tested so: for them a
test starts `python -m pipeline`.

As a script it is the server: fork_server.py, with its sockets as arguments. It ends when the process that started it ends.
It stays in that one's process group. A fork whose parent is in another group may be all that ties its group to the session,
and when it ends, the kernel sends SIGHUP and SIGCONT to the group if a process in it is stopped: to the tests themselves.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn

from tests.support.paths import ROOT

KILL = signal.SIGQUIT
"""The signal that kills a fork, as SIGKILL does a process: SIGKILL itself would end the client and not the fork."""
CLIENT = Path(__file__).with_name("fork_client.py")
HEAVY = (
    *("jobs.ingest", "jobs.score", "jobs.vacuum", "jobs.repair", "pipeline.lake.table", "pipeline.scoring.outputs"),
    *("pipeline.models.bundle", "pipeline.reports.files"),
    # What these import when they first need it; pyarrow looks whether pandas is there.
    *("charset_normalizer", "pandas", "pyarrow.acero", "pyarrow.csv", "pyarrow.dataset"),
)
TORCH = (
    *("torch", "jobs.train", "pipeline.training.loop", "jobs.finished", "pipeline.scoring.predictor"),
    *("jobs.training", "torch._dynamo", "matplotlib.backends.backend_svg", "pipeline.reports.page"),
)
OPTIONAL = ("typer._adapters",)
"""What some versions have and import late."""


def forked_pipeline() -> tuple[str, ...]:
    """The words that stand for `python -m pipeline` in any command line."""
    return sys.executable, "-I", "-S", str(CLIENT), address(), "pipeline"


def forked_python() -> tuple[str, ...]:
    """The words that stand for `python -c` in any command line."""
    return sys.executable, "-I", "-S", str(CLIENT), address(), "-c"


@functools.cache
def address() -> str:
    """The socket of this process's server, which is started the first time."""
    folder = tempfile.TemporaryDirectory(prefix="fork-server-")
    path = str(Path(folder.name) / "socket")
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as listener, theirs:
        listener.bind(path)
        listener.listen(64)
        server = subprocess.Popen(
            [sys.executable, "-P", __file__, str(listener.fileno()), str(theirs.fileno())],
            pass_fds=(listener.fileno(), theirs.fileno()),
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def stop() -> None:
        ours.close()
        server.wait(30)
        folder.cleanup()

    atexit.register(stop)
    return path


def import_everything(*, torch: bool = True) -> None:
    """Imports what commands import, so that those that are forked from this process do not have to."""
    import pipeline.cli.app as app

    for name in HEAVY + (TORCH if torch else ()):
        importlib.import_module(name)
    for name in OPTIONAL:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    app.load_commands()
    gc.freeze()  # a collection in a fork does not copy the pages of what was imported


def serve(listener: socket.socket, life: socket.socket) -> None:
    """Forks for each client, until `life` is closed at its other end."""
    while life not in select.select([listener, life], [], [])[0]:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            life.close()
            attend(client)
        client.close()


def attend(client: socket.socket) -> NoReturn:
    """Runs one client's command in a process of its own, and gives the client its exit code."""
    _, streams, _, _ = socket.recv_fds(client, 1, 3)
    with client.makefile() as lines:
        order = json.loads(lines.readline())
    child = os.fork()
    if child == 0:
        client.close()
        run(order, streams)
    for descriptor in streams:
        os.close(descriptor)
    with contextlib.suppress(OSError):  # a client that was killed
        client.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def run(order: dict[str, object], streams: list[int]) -> NoReturn:
    """Becomes the command, or runs the piece of Python."""
    from pipeline.cli.app import main

    with contextlib.suppress(OSError):  # a client in another session keeps its group to itself
        os.setpgid(0, order["group"])  # type: ignore[arg-type]
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(str(order["cwd"]))
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    sys.argv = [str(order["kind"]), *order["arguments"]]  # type: ignore[misc]
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False) for number in (1, 2))
    code = 0
    try:
        if order["kind"] == "pipeline":
            main()
        exec(sys.argv.pop(1), {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    import_everything()
    serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:]))
