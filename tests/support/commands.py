"""Runs the command line: in a process of its own, or in this one, which is a second faster."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from typer.testing import CliRunner

from pipeline.cli.app import app, load_commands, run_command_line
from tests.support.fork_server import forked_pipeline
from tests.support.paths import ROOT


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code, the receipt on the last line of stdout, what it said on stderr."""

    code: int
    stdout: str
    stderr: str

    @property
    def receipt(self) -> dict[str, Any]:
        return json.loads(self.stdout.strip().splitlines()[-1])


Run = Callable[..., Outcome]
"""`run_process` or `run_here`."""


def run_process(
    *arguments: object, cwd: Path | None = None, timeout: float = 240, stdin: str | None = None, **environment: str
) -> Outcome:
    """Runs `pipeline ARGUMENTS…` as a person would, in a process of its own; see `forked_pipeline`."""
    done = subprocess.run(
        [*forked_pipeline(), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def run_here(*arguments: object, cwd: Path | None = None, stdin: str | None = None, **environment: str) -> Outcome:
    """Runs the same command line in this process; streams, signal handlers, logging and environment are put back."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, environment))
        stack.enter_context(mock.patch.object(sys, "argv", ["pipeline", *map(str, arguments)]))
        stack.enter_context(chdir(cwd or ROOT))
        stack.enter_context(logging_and_signals_put_back())
        logging.getLogger().handlers.clear()  # as in a process that has just begun: the command line sets up its own
        given = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
        given.write(stdin or "")
        given.seek(0)
        said = {number: stack.enter_context(tempfile.TemporaryFile()) for number in (1, 2)}
        with _streams(given.fileno(), said[1].fileno(), said[2].fileno()):
            code = run_command_line()
        for file in said.values():
            file.seek(0)
        return Outcome(code, *(said[number].read().decode() for number in (1, 2)))


@contextmanager
def logging_and_signals_put_back() -> Iterator[None]:
    """Signal handlers, and the level and handlers of the root logger, are after the block what they were before it."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        for number, handler in signals.items():
            signal.signal(number, handler)
        root.setLevel(level)
        root.handlers[:] = handlers


@contextmanager
def _streams(*descriptors: int) -> Iterator[None]:
    """Lends the block stdin, stdout and stderr, the descriptors as well as Python's objects."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in range(3)]
    objects = sys.stdin, sys.stdout, sys.stderr
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        sys.stdin = os.fdopen(0, "r", encoding="utf-8", closefd=False)
        sys.stdout, sys.stderr = (
            os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False) for number in (1, 2)
        )
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.close()
            sys.stdin.close()
    finally:
        sys.stdin, sys.stdout, sys.stderr = objects
        for number, descriptor in enumerate(kept):
            os.dup2(descriptor, number)
            os.close(descriptor)


def invoke(*arguments: object) -> dict[str, Any]:
    """Runs a command in this process; gives the receipt, with the exit code beside it, or raises its error."""
    load_commands()
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.stdout, result.output
    return {**json.loads(result.stdout.strip().splitlines()[-1]), "code": result.exit_code}
