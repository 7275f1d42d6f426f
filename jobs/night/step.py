"""A step of a night: a command in a process of its own, of which the receipt and the run record tell what it did."""

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pipeline
from jobs.runtime import PART_OF
from pipeline.errors import EXIT_DONE, EXIT_NOTHING_NEW, CannotWriteError, PipelineError, StoppedError
from pipeline.lake.paths import Lake
from pipeline.lake.runs import read_record
from pipeline.progress import working
from pipeline.signals import StopRequest, deferred_stop

log = logging.getLogger(__name__)

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "pipeline")
"""How a command line of this package begins. -P keeps the working folder out of the import path."""
STOP_SECONDS = 60.0
"""How long a step may take to end after a signal, before it is killed; nothing is half-written then, either."""
LOOK_SECONDS = 0.5
NEWEST = 100
"""So many records of a command are looked through for the one of a step that has printed no receipt."""
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step did. Counts are rows; `quarantined` counts files.

    Args:
        run_id: None for a step that ended before its run began, because of a wrong option, say.
        error: why it failed, in words that quote nothing of the input but names of files; "" if it did not.
        warnings: the warnings of its run.
        briefs: what may be mailed of them, by warning; "" if the figures say it.
    """

    command: str
    run_id: str | None
    exit_code: int
    seconds: float
    read: int = 0
    written: int = 0
    rejected: int = 0
    known: int = 0
    quarantined: int = 0
    outputs: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    warnings: tuple[str, ...] = ()
    briefs: Mapping[str, str] = field(default_factory=dict)

    COUNTS = ("read", "written", "rejected", "known", "quarantined")

    @property
    def failed(self) -> bool:
        """Whether it ended with anything but 0 and 99."""
        return self.exit_code not in (EXIT_DONE, EXIT_NOTHING_NEW)

    def to_dict(self) -> dict[str, Any]:
        """The step as the night's receipt holds it."""
        kept = {"command": self.command, "run_id": self.run_id, "exit_code": self.exit_code, "seconds": self.seconds}
        kept |= {name: getattr(self, name) for name in self.COUNTS}
        return {**kept, "outputs": self.outputs, "metrics": self.metrics, **({"error": self.error} if self.error else {})}

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Step":
        """The step in an earlier night's receipt; its warnings are in its own record."""
        names = ("command", "run_id", "exit_code", "seconds", *cls.COUNTS, "outputs", "metrics", "error")
        return cls(**{name: found[name] for name in names if name in found})

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Step":
        """A step from its own record."""
        told = record["receipt"]
        return cls(
            command=record["command"],
            run_id=record["run_id"],
            exit_code=record["exit_code"],
            seconds=told.get("seconds", 0.0),
            **{name: told.get(name, 0) for name in cls.COUNTS},
            outputs=told.get("outputs", {}),
            metrics=told.get("metrics", {}),
            warnings=tuple(record.get("warnings", ())),
            briefs=record.get("warning_briefs", {}),
        )


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs steps of the night `run_id`. Their log lines go to `log_file`; `arguments` are the options before the command.
    `steps` has those that have ended."""

    lake: Lake
    run_id: str
    log_file: Path
    arguments: Sequence[str] = ()
    steps: list[Step] = field(default_factory=list)

    def run(self, command: str, *words: str) -> Step:
        """Runs a command of the pipeline to its end.

        Raises:
            StoppedError: a signal came; the step got it, too, and has ended.
        """
        log.info("%s starts", command)
        started, began = time.time(), self.log_file.stat().st_size
        with deferred_stop() as stop:
            code, stdout = self._process(command, words, stop)
            step = self._told(command, code, round(time.time() - started, 3), _last_object(stdout), began)
            self.steps.append(step)
        counts = ", ".join(f"{count:,} {name}" for name in Step.COUNTS if (count := getattr(step, name)))
        log.info("%s ended with %d in %.1f s%s", command, code, step.seconds, f": {counts}" if counts else "")
        stop.raise_if_set()
        return step

    def call(self, command: str, *words: str) -> tuple[int, str]:
        """Runs a command that is no step: it has neither receipt nor record. Gives its exit code and its error in words."""
        began = self.log_file.stat().st_size
        with deferred_stop() as stop:
            code, _ = self._process(command, words, stop)
        return code, self._last_words(began) or _how(code)

    def _process(self, command: str, words: Sequence[str], stop: StopRequest) -> tuple[int, str]:
        """Waits for a command, or stops it; gives its exit code and what it has written to stdout."""
        with tempfile.TemporaryFile("w+", encoding="utf-8") as stdout, self.log_file.open("ab") as stderr:
            child = subprocess.Popen(
                [*COMMAND, *self.arguments, "--lake", str(self.lake.root), command, "--json", *words],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=self._environment(),
                process_group=0,  # a signal to the night's own group, as from a terminal, comes once, through us
                preexec_fn=_ends_with(os.getpid()),
            )
            with working(command):
                while True:
                    with suppress(subprocess.TimeoutExpired):
                        code = child.wait(LOOK_SECONDS)
                        break
                    if stop.signal_number:
                        code = _end(child, stop.signal_number)
                        break
            stdout.seek(0)
            return code if code >= 0 else 128 - code, stdout.read()

    def _environment(self) -> dict[str, str]:
        home = str(Path(pipeline.__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, PART_OF: self.run_id}

    def _told(self, command: str, code: int, seconds: float, receipt: Mapping[str, Any], began: int) -> Step:
        """What the receipt tells, and the record, which is there after a failure, too."""
        record = self._record(command, str(receipt.get("run_id", "")))
        told = receipt or record.get("receipt", {})
        error = ""
        if code not in (EXIT_DONE, EXIT_NOTHING_NEW):
            error = record.get("error_brief") or _failed_check(told) or self._last_words(began) or _how(code)
        return Step(
            command=command,
            run_id=record.get("run_id") or told.get("run_id"),
            exit_code=code,
            seconds=seconds,
            **{name: told.get(name, 0) for name in Step.COUNTS},
            outputs=told.get("outputs", {}),
            metrics=told.get("metrics", {}),
            error=error,
            warnings=tuple(record.get("warnings", ())),
            briefs=record.get("warning_briefs", {}),
        )

    def _record(self, command: str, run_id: str) -> dict[str, Any]:
        """The step's run record; {} where it left none."""
        if run_id:
            with suppress(PipelineError, OSError):
                return read_record(self.lake.runs / f"{run_id}.json")
            return {}
        # Names sort by time, but not if the clock was set back since the night began.
        for path in sorted(self.lake.runs.glob(f"*-{command}-*.json"), reverse=True)[:NEWEST]:
            with suppress(PipelineError, OSError):
                record = read_record(path)
                if record.get("part_of") == self.run_id:
                    return record
        return {}

    def _last_words(self, began: int) -> str:
        """The error that a step without a record has logged: it refused its options, which quote nothing of the input."""
        with self.log_file.open(encoding="utf-8", errors="replace") as file:
            file.seek(began)
            lines = file.read().splitlines()
        for line in reversed(lines):
            for prefix in ("pipeline: ", "Error: "):  # the latter for a command line that cannot be parsed
                if line.startswith(prefix):
                    return line.removeprefix(prefix)
            with suppress(ValueError, TypeError, KeyError):
                if (found := json.loads(line))["level"] == "error":
                    return str(found["message"])
        return ""


def _end(child: "subprocess.Popen[Any]", number: int) -> int:
    """Passes a signal on to the step, and to the processes it has started; kills what does not end."""
    log.info("stopping the step: signal %d", number)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)
    try:
        return child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        return child.wait()


def _ends_with(parent: int) -> Callable[[], None] | None:
    """What a step does before it begins: if the night is killed, the kernel tells the step to stop. Linux only."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def tell() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(StoppedError(signal.SIGTERM).exit_code)

    return tell


def _last_object(text: str) -> dict[str, Any]:
    """The receipt: the last line of stdout, where it is a JSON object."""
    with suppress(ValueError, IndexError):
        found = json.loads(text.strip().splitlines()[-1])
        if isinstance(found, dict):
            return found
    return {}


def _failed_check(told: Mapping[str, Any]) -> str:
    """Why a run that did all its work ended with an error all the same; "" for others."""
    drift = told.get("metrics", {}).get("drift")
    is_checked = isinstance(drift, dict) and drift.get("drifted")
    return "the predictions are written, but the input drifted (--fail-on-drift)" if is_checked else ""


def _how(code: int) -> str:
    """An end without a word."""
    if code == 128 + signal.SIGKILL:
        return "it was killed, as when memory runs out"
    if code > 128:
        return f"it was stopped by signal {code - 128}"
    if code == CannotWriteError.exit_code:
        return "it could not write, nor say what; is the disk full?"
    return "it gave no reason"
