"""A process that has imported everything and forks for each command: a fault costs a fork, not a start of Python.

Reads one JSON object a line: `argv` of the command line, and what the preloaded shim is to do (`tests/faults/shim.c`).
Answers with the wait status and the number of operations counted. Run under LD_PRELOAD.
"""

import ctypes
import json
import os
import sys

from tests.faults.steps import fork_steps
from tests.support.fork_server import import_everything


def main() -> None:
    """Serves until stdin ends."""
    import_everything(torch="--torch" in sys.argv)
    shim = ctypes.CDLL(None)
    for line in sys.stdin:
        order = json.loads(line)
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            serve(order, shim, write_end)
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            counted = pipe.read()
        _, status = os.waitpid(child, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "counted": int(counted or 0)}), flush=True)


def serve(order: dict[str, object], shim: ctypes.CDLL, write_end: int) -> None:
    """Runs one command in the forked child and ends it."""
    import pipeline.cli.app as app

    for number, name in ((1, "stdout"), (2, "stderr")):
        descriptor = os.open(str(order[name]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    sys.argv = ["pipeline", *map(str, order["argv"])]  # type: ignore[call-overload]
    fault = order["fault"]
    assert isinstance(fault, dict)
    shim.fault_arm(
        fault["root"].encode(),
        fault["kinds"].encode(),
        ctypes.c_long(fault["at"]),
        fault["action"].encode(),
        fault["errno"],
        fault["sticky"],
        fault["trace"].encode(),
    )
    if "nightly" in sys.argv:
        fork_steps()
    code = app.run_command_line()
    sys.stdout.flush()
    sys.stderr.flush()
    shim.fault_counted.restype = ctypes.c_long
    os.write(write_end, str(shim.fault_counted()).encode())
    os._exit(code)


if __name__ == "__main__":
    main()
