"""A process that has imported everything and forks for each command: a fault costs a fork, not a start of Python.

Reads one JSON object a line: `argv` of the command line, and what the preloaded shim is to do (`tests/faults/shim.c`).
Answers with the wait status and the number of operations counted. Run under LD_PRELOAD.
"""

import contextlib
import ctypes
import importlib
import json
import os
import sys

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


def main() -> None:
    """Serves until stdin ends."""
    import pipeline.cli.app as app

    for name in HEAVY + (TORCH if "--torch" in sys.argv else ()):
        importlib.import_module(name)
    for name in OPTIONAL:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    app.load_commands()
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
    sys.argv = ["pipeline", *map(str, order["argv"])]  # type: ignore[call-overload]
    fault = order["fault"]
    assert isinstance(fault, dict)
    shim.fault_arm(
        fault["root"].encode(), fault["kinds"].encode(), ctypes.c_long(fault["at"]), fault["action"].encode(),
        fault["errno"], fault["sticky"], fault["trace"].encode(),
    )  # fmt: skip
    code = app.run_command_line()
    sys.stdout.flush()
    sys.stderr.flush()
    shim.fault_counted.restype = ctypes.c_long
    os.write(write_end, str(shim.fault_counted()).encode())
    os._exit(code)


if __name__ == "__main__":
    main()
