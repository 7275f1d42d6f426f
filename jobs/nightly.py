"""`pipeline nightly`: ingest → train → score → clean up, each step in a process of its own, under one lock.

The order of the steps is in `_Night.run`. A step that fails does not stop those that have work of their own: scoring goes on
with the live model. A signal stops the step and the night; the next night continues.
"""

import glob
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from jobs.night.attention import FAILED, IN_VAIN, KEPT, attention, unknown_share, unknown_tokens
from jobs.night.history import History
from jobs.night.log_file import night_log, remove_old_logs
from jobs.night.metrics_file import write_metrics
from jobs.night.notify import notify
from jobs.night.policy import Decision, decide
from jobs.night.step import Runner, Step
from jobs.runtime import Run, recorded_run
from pipeline.config.nightly import REBUILD, NightlyConfig
from pipeline.errors import EXIT_DONE, PipelineError, StoppedError
from pipeline.lake.locks import locked
from pipeline.lake.paths import Lake, share
from pipeline.lake.store import is_object_uri
from pipeline.progress import UNATTENDED
from schemas.contract import ContractError
from schemas.run import Receipt

log = logging.getLogger(__name__)

STATUS_CODES = (EXIT_DONE, 1)
"""Exit codes of `pipeline status`: all is well, or something needs a person."""
GROWTH = 1.25
"""If a rebuilt vocabulary is still past the limit, it is worth another try once the share of unknown tokens has grown so."""
HIDDEN = (".", "_")
"""Names that begin so are unfinished or belong to other tools; score passes them over."""


def run(
    config: NightlyConfig,
    arguments: Sequence[str],
    formatter: logging.Formatter,
    tell: Callable[[str], None],
) -> Receipt:
    """Runs a night.

    Args:
        arguments: options before the command, for each step.
        formatter: of the log's lines.
        tell: gets the lines that a person must know as soon as they are in the night's record, which counts as told.

    Raises:
        InputNotFoundError: no such lake.
        LockedError: another night of the lake is running.
        CannotWriteError: the log cannot be written.
        StoppedError: a signal came; the step has ended, and nothing is half-written.
    """
    lake = Lake(config.lake)
    lake.check_there()
    with locked(lake.locks / "nightly.lock", f"the nightly run of {lake.root}"):
        with recorded_run("nightly", lake, config) as this, night_log(lake, this.run_id, formatter) as log_file:
            this.outputs["log"] = log_file
            runner = Runner(lake=lake, run_id=this.run_id, log_file=log_file, arguments=arguments)
            night = _Night(config=config, lake=lake, runner=runner, log_file=log_file)
            with _told(night, this):
                night.run()
        told = len(night.attention)
        for line in night.attention:
            tell(line)
        _write_page(night)
        for line in night.attention[told:]:
            tell(line)
        share(log_file, "nightly")  # the rest of the log, and the page
    return this.receipt()


def _write_page(night: "_Night") -> None:
    """The morning page, once the record of the night is there: the night is over, and a signal no longer changes that."""
    with suppress(StoppedError):
        code, error = night.runner.call("status", "--page")
        if code not in STATUS_CODES:
            problem = f"the morning page was not written (exit code {code}): {error.rstrip('.')}"
            night.attention.append(f"nightly: {problem}. Log: {night.log_file}")


@dataclass(kw_only=True)
class _Night:
    """One night. `attention` has the lines that a person must know."""

    config: NightlyConfig
    lake: Lake
    runner: Runner
    log_file: Path
    attention: list[str] = field(default_factory=list)
    rebuilt: bool = False
    """Whether the night has rebuilt the vocabulary: only a new model makes use of it."""

    def run(self) -> None:
        """The steps, in order."""
        self.history = History(self.lake, self.runner.run_id)
        self._tell(self.history.untold())
        self._ingest()
        self._train()
        self._score()
        if self.config.compact and (self.lake.tokens / "_delta_log").is_dir():
            self._step("compact", "--min-shards", str(self.config.compact))
        if self.config.vacuum:
            self._step("vacuum")
        self.lake.fetch(self.lake.logs)
        for name in remove_old_logs(self.lake, self.config.keep_logs, self.log_file):
            log.info("removed the log %s: --keep-logs %d", name, self.config.keep_logs)

    @property
    def failed(self) -> Step | None:
        """The first step that failed."""
        return next((step for step in self.runner.steps if step.failed), None)

    @property
    def did_something(self) -> bool:
        """Whether any step had work."""
        return any(step.exit_code == EXIT_DONE for step in self.runner.steps)

    def _tell(self, lines: Iterable[str]) -> None:
        """Notes what a person must know; what a night that was cut off has left to say may be the same."""
        self.attention += [line for line in dict.fromkeys(lines) if line not in self.attention]

    def _step(self, command: str, *words: str, before: Step | None = None) -> Step:
        step = self.runner.run(command, *words)
        self._tell(attention(step, before or self.history.before(command), str(self.log_file)))
        return step

    def _ingest(self) -> None:
        before = self.history.last("ingest")
        step = self._step("ingest")
        share = unknown_share(step) if unknown_share(step) is not None else unknown_share(before)
        limit = self.config.unknown_limit
        if share is None or share <= limit:
            return
        if self.config.vocabulary != REBUILD or step.failed:
            self.attention += unknown_tokens(share, limit, step, before, KEPT)
            return
        least = self.history.rebuilt_share()
        if least is not None and share <= max(limit, least * GROWTH):
            self.attention += unknown_tokens(share, limit, step, before, IN_VAIN)
            return
        log.info("the vocabulary lacks %.1f%% of the table's tokens: rebuilding it", share * 100)
        self.rebuilt = not self._step("ingest", "--rebuild-vocab", before=step).failed
        if not self.rebuilt:
            self.attention += unknown_tokens(share, limit, step, None, FAILED)

    def _train(self) -> None:
        if self.failed is not None and not (self.lake.tokens / "_delta_log").is_dir():
            log.info("no training: there is no table yet")
            return
        try:
            decision = decide(self.config.retrain, self.lake, self.history.scored())
        except (PipelineError, ContractError) as error:  # train says what is wrong with the table
            log.info("training: the policy %s cannot be applied: %s", self.config.retrain, error)
        else:
            if self.rebuilt and not self.config.retrain.never:
                decision = Decision(True, "training: the vocabulary was rebuilt")
            log.info("%s", decision.why)
            if not decision.train:
                return
        self._step("train", "--resume", *self.config.train_words)

    def _score(self) -> None:
        places = self.config.input or (str(self.lake.incoming),)
        self.lake.fetch(*(Path(place) for place in places))
        waiting = [place for place in places if _is_waiting(place, self.lake)]
        if not waiting:
            log.info("nothing waits to be scored in %s", ", ".join(places))
        elif self.failed is not None and not self.lake.latest.exists():
            log.info("no scoring: there is no model yet")
        else:
            self._step("score", "--", *waiting)


@contextmanager
def _told(night: _Night, this: Run) -> Iterator[None]:
    """For the steps; when they have ended, or were stopped, tells the receipt, the metrics file and the command."""
    stopped: StoppedError | None = None
    try:
        yield
    except StoppedError as error:
        stopped = error
    failed = night.failed
    if failed is not None and stopped is None:
        this.failure = PipelineError(f"{failed.command} failed: {failed.error}")
        this.failure.exit_code = failed.exit_code
    this.nothing_new = failed is None and not night.did_something
    this.metrics = {"steps": [step.to_dict() for step in night.runner.steps], "attention": night.attention}
    this.metrics["log"] = str(night.log_file)
    exit_code = stopped.exit_code if stopped is not None else this.receipt().exit_code
    _write_metrics(night, this, exit_code)
    if stopped is not None:
        raise stopped
    if night.config.on_attention and night.attention:
        receipt = this.receipt().to_json()
        trouble = notify(night.config.on_attention, receipt, night.lake.place, night.log_file)
        if trouble:
            night.attention.append(f"nightly: the command of --on-attention {trouble}. Log: {night.log_file}")
    for line in night.attention:
        log.info("attention: %s", line, extra={UNATTENDED: True})


def _write_metrics(night: _Night, this: Run, exit_code: int) -> None:
    if night.config.metrics_file is None:
        return
    finished = time.time()
    figures = {"finished": finished, "exit_code": exit_code, "seconds": finished - this.started}
    try:
        write_metrics(
            night.config.metrics_file,
            night.lake,
            night.runner.steps,
            {**figures, "attention": len(night.attention)},
        )
    except PipelineError as error:
        night.attention.append(f"nightly: --metrics-file: {error}")


def _is_waiting(place: str, lake: Lake) -> bool:
    """Whether there is anything to score. A path that was given and is not there, or that cannot be read, is score's to
    complain about."""
    if is_object_uri(place):
        from pipeline.readers.mirror import is_anything_at

        return is_anything_at(place)
    path = Path(place).expanduser()
    try:
        if path.is_dir():
            return any(_visible_files(path))
        if path.exists():
            return True
    except OSError:
        return True
    if glob.has_magic(place):
        return any(_is_waiting(found, lake) for found in glob.iglob(str(path), recursive=True))  # noqa: PTH207
    return path != lake.incoming


def _visible_files(folder: Path) -> Iterator[Path]:
    """The files in a folder that score would read.

    Raises:
        OSError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # removed in this moment
            raise error

    for place, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
        yield from (Path(place) / name for name in names if not name.startswith(HIDDEN))
