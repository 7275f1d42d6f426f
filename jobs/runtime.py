"""What every job does around its work: an id, a clock, the invariant, the record, the receipt."""

import dataclasses
import logging
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.errors import (
    EXIT_DONE,
    EXIT_NOTHING_NEW,
    DataError,
    InputNotFoundError,
    PipelineError,
    StoppedError,
    UsageError,
    by_cause,
)
from pipeline.lake.leftovers import sweep_leftovers
from pipeline.lake.paths import Lake
from pipeline.lake.runs import new_run_id, write_record
from pipeline.options.render import printable_text, rendered
from pipeline.printable import printable, shown
from pipeline.progress import AS_IT_IS, BRIEF, UNATTENDED
from pipeline.signals import as_stop, deferred_stop, raise_if_swallowed, settle, unsettle
from pipeline.version import __version__
from schemas.contract import ContractError
from schemas.run import Receipt, RunRecord

log = logging.getLogger(__name__)

COUNTED_COMMANDS = ("ingest", "score")
"""Commands whose rows have to add up: read = written + rejected + known."""
PART_OF = "PIPELINE_PART_OF"
"""The environment variable in which a run that starts others hands them its run ID, for their records."""
COMMITTED_METRICS = ("unknown_share", "unknown_share_table")
"""Figures that a restored run record keeps: they are followed over the nights."""
MOST_WARNINGS = 20
"""So many warnings of a run are kept in its record."""


@dataclasses.dataclass(kw_only=True)
class Run:
    """What a job fills in while it works. Counts are rows."""

    run_id: str
    command: str
    read: int = 0
    written: int = 0
    rejected: int = 0
    known: int = 0
    quarantined: int = 0
    outputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    nothing_new: bool = False
    failed_check: bool = False
    """Whether the run did its work, but found what an option makes it exit with 65 for."""
    leaves_parts: bool = False
    """Whether each part of the result stays although the run fails; else such a run leaves all or nothing."""
    committed: bool = False
    """Whether the result is visible to others; from then on the run counts as done."""
    failure: PipelineError | None = None
    """What failed in a run of several parts that ended as it should nevertheless."""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    started: float = dataclasses.field(default_factory=time.time)

    def receipt(self) -> Receipt:
        """The receipt of the run as it stands."""
        return Receipt(
            run_id=self.run_id,
            command=self.command,
            seconds=round(time.time() - self.started, 3),
            read=self.read,
            written=self.written,
            rejected=self.rejected,
            known=self.known,
            quarantined=self.quarantined,
            outputs={name: _shown(value) for name, value in self.outputs.items()},
            metrics=self.metrics,
            exit_code=self._exit_code(),
        )

    def _exit_code(self) -> int:
        if self.failure is not None:
            return self.failure.exit_code
        if self.failed_check:
            return DataError.exit_code
        return EXIT_NOTHING_NEW if self.nothing_new else EXIT_DONE

    def check_counts(self) -> None:
        """Raises `PipelineError` unless every row read is accounted for."""
        if self.command in COUNTED_COMMANDS and self.read != self.written + self.rejected + self.known:
            raise PipelineError(
                f"{self.command}: {self.read} rows read, but {self.written} written + {self.rejected} rejected + "
                f"{self.known} known = {self.written + self.rejected + self.known}. Please report this."
            )


@contextmanager
def recorded_run(command: str, lake: Lake, config: Any, *, record: bool = True) -> Iterator[Run]:
    """Runs the block as one run of `command`; writes `runs/<run_id>.json` when it ends, however it ends.

    `config` is the job's frozen dataclass; it is rendered into the record. A record that cannot be written is a
    warning: it must not hide the run's own result or error. `record=False` writes none, and neither does a run
    that finds no input, or is used wrongly, where there is no lake. Once the run has committed (see `committing`), later
    failures are warnings too: the exit code reports the commit.
    """
    unsettle()
    run = Run(run_id=new_run_id(command), command=command, config=rendered(config))
    warned = _Warnings()
    logging.getLogger().addHandler(warned)
    log.info("%s %s starts in %s", command, run.run_id, lake.place, extra={UNATTENDED: True})
    if record:
        for leftover in sweep_leftovers(lake):
            log.info("removed leftovers of a crashed run: %s (%s bytes)", leftover.path, f"{leftover.bytes:,}")
    error: BaseException | None = None
    try:
        yield run
        run.check_counts()
        if record:
            lake.push(command)
    except BaseException as caught:
        if run.committed and isinstance(caught, Exception | StoppedError):
            log.warning("%s %s committed, but then failed: %s: %s", command, run.run_id, type(caught).__name__, caught)
        else:
            stopped = as_stop(caught)
            error = by_cause(stopped) if isinstance(stopped, Exception) else stopped
            if command in COUNTED_COMMANDS and not run.leaves_parts:
                run.written = 0
            if error is caught:
                raise
            raise error from caught
    finally:
        logging.getLogger().removeHandler(warned)
        with deferred_stop():
            final = _record(run, error, warned)
            # A mistyped --lake leaves no folder.
            if record and (lake.is_there or not isinstance(error, InputNotFoundError | UsageError)):
                try:
                    write_record(lake, final)
                    lake.push(command)
                except Exception as unwritable:
                    log.warning("the run record was not written: %s", unwritable, extra=AS_IT_IS)
            log.info(
                "%s %s: %s in %.1f s",
                command,
                run.run_id,
                "found nothing new" if run.nothing_new and final.outcome == "nothing-new" else final.outcome,
                time.time() - run.started,
                extra={UNATTENDED: True},
            )


def commit_record(run: Run) -> dict[str, Any]:
    """What a commit notes about its run, so that its record can be written from the log alone."""
    counts = {"read": run.read, "written": run.written, "rejected": run.rejected, "known": run.known}
    return {
        "command": run.command,
        "started": _iso(run.started),
        "rows": run.written,
        "counts": counts,
        "metrics": {name: run.metrics[name] for name in COMMITTED_METRICS if name in run.metrics},
        "config": run.config,
    }


@contextmanager
def committing(run: Run, lake: Lake | None = None) -> Iterator[None]:
    """For the block that makes the run's result visible: a signal waits, and when the block ends well, the run is done.

    Args:
        lake: whose store gets the result at the end of the block; commits of the table see to that themselves.
    """
    raise_if_swallowed()
    with deferred_stop() as stop:
        stop.raise_if_set()
        yield
        if lake is not None:
            lake.push(run.command)
        run.committed = True
        settle()


class _Warnings(logging.Handler):
    """Keeps the warnings that are logged, each once, as far as `MOST_WARNINGS`; and what may be mailed of them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self.briefs: dict[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the message of a record. Where nobody has set up logging, warnings reach stderr as without this handler."""
        if logging.lastResort is not None and logging.getLogger().handlers == [self]:
            logging.lastResort.handle(record)
        message = printable(record.getMessage())
        if len(self.messages) < MOST_WARNINGS and message not in self.messages:
            self.messages.append(message)
            brief = getattr(record, BRIEF, None)
            if brief is not None:
                self.briefs[message] = message if brief is True else printable(brief)


def _record(run: Run, error: BaseException | None, warned: _Warnings) -> RunRecord:
    receipt = run.receipt()
    exit_code = receipt.exit_code
    error = error or run.failure
    outcome = "nothing-new" if run.nothing_new else "done"
    if isinstance(error, StoppedError):
        outcome, exit_code = "stopped", error.exit_code
    elif error is not None:
        outcome = "failed"
        exit_code = error.exit_code if isinstance(error, PipelineError | ContractError) else PipelineError.exit_code
    return RunRecord(
        run_id=run.run_id,
        command=run.command,
        started=_iso(run.started),
        finished=_iso(time.time()),
        outcome=outcome,
        exit_code=exit_code,
        config=run.config,
        receipt=dataclasses.asdict(receipt),
        warnings=warned.messages,
        warning_briefs=warned.briefs,
        error=None if error is None else printable_text(f"{type(error).__name__}: {error}"),
        error_brief=None if error is None else printable_text(_brief(error)),
        part_of=os.environ.get(PART_OF) or None,
        versions=versions(),
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )


def _brief(error: BaseException) -> str:
    """What may be mailed of an error: an unexpected one may quote anything."""
    if isinstance(error, PipelineError):
        return error.brief
    if isinstance(error, StoppedError):
        return str(error)
    what = "a file of the lake breaks its contract" if isinstance(error, ContractError) else "an internal error"
    return f"{what} ({type(error).__name__})"


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that decide what is written."""
    found = {"review-pipeline": __version__, "python": platform.python_version()}
    for name in ("torch", "torchdata", "pyarrow", "deltalake", "numpy", "regex"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def _shown(value: Any) -> Any:
    """An output as a receipt has it: a file of a working copy is where its lake is."""
    return shown(str(value)) if isinstance(value, Path | str) else value


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
