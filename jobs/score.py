"""`pipeline score`: raw reviews → the same rows with predictions.

Reading and tokenizing run in threads ahead of the forward pass; within a window the reviews are sorted by length, their
order is restored before they are written. The next window is always on its way to the model while one is written.
"""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from jobs.drift import Watch, check_measurable, recorded_drift
from jobs.runtime import Run, committing, recorded_run
from jobs.score_plan import ScorePlan, check_files, output_place
from pipeline.config.score import STDIN, STDOUT, ScoreConfig
from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake.atomic import atomic_path, claimed, sweep
from pipeline.lake.paths import Lake
from pipeline.lake.runs import wrote
from pipeline.process import collector_paused
from pipeline.progress import IN_FIGURES
from pipeline.readers.base import FileFault
from pipeline.readers.registry import format_named
from pipeline.readers.summary import named_faults
from pipeline.scoring.inputs import STDIN_NAME, ScoreInput, find_sources, open_input, spooled_stdin
from pipeline.signals import raise_if_swallowed
from schemas.run import Receipt

if TYPE_CHECKING:
    from pipeline.datapipes.score_window import Window
    from pipeline.lake.reject_writer import RejectCounts
    from pipeline.models.bundle import Bundle
    from pipeline.scoring.answers import Answer
    from pipeline.scoring.outputs import Probabilities, Reasons
    from pipeline.scoring.predictor import Predictor

log = logging.getLogger(__name__)

READ_ROWS = 1024
"""Rows of the first window."""
WINDOW_ROWS = 8192
WINDOW_BYTES = 64 << 20
"""Maximum rows, or bytes of columns and ids, of a window; sorting more than that gains nothing."""


def run(config: ScoreConfig) -> Receipt:
    """Scores the input.

    Raises:
        PipelineError: see `pipeline.errors`; the output is then as it was.
    """
    lake = Lake(config.lake)
    with recorded_run("score", lake, config) as this, spooled_stdin(config.sources) as stdin:
        format = None if config.format is None else format_named(config.format)
        found = find_sources(config.sources, lake.relative, format=format, settle_seconds=config.settle, stdin=stdin)
        if not found.sources and not found.faults:
            this.nothing_new = True  # all of it was written a moment ago
            return this.receipt()
        places = [STDIN_NAME if place == STDIN else lake.relative(Path(place).expanduser()) for place in config.sources]
        try:
            source = open_input(", ".join(places), found, config.text_column, config.keep, config.reading)
            from pipeline.models.bundle import find_bundle

            bundle = find_bundle(lake, config.model)  # before a lock file is made
            with _held(bundle), _target(config, lake, source) as output:
                this.outputs |= {"predictions": STDOUT if config.to_stdout else output, "model": bundle.model_id}
                _score(ScorePlan.of(config, source, bundle, output), lake, this)
        except FileFault as fault:
            raise DataError(f"{fault}. Nothing was written.", brief=f"{fault.brief}. Nothing was written.") from fault
    return this.receipt()


def answers(config: ScoreConfig) -> "list[Answer]":
    """Scores the reviews of `--text`; nothing is written, not even a record of the run."""
    from pipeline.models.bundle import find_bundle

    bundle = find_bundle(Lake(config.lake), config.model)
    with collector_paused():
        from pipeline.scoring.answers import answer
        from pipeline.scoring.predictor import Predictor
    with Predictor(bundle, config.device, config.batch_size, config.precision) as predictor:
        return answer(predictor, config.text, config.abstain_below, explain=config.explain)


@contextmanager
def _held(bundle: "Bundle") -> Iterator[None]:
    """Keeps vacuum off a model that is scoring although another one has become the live one.

    Raises:
        InputNotFoundError: it was removed in this moment.
    """
    try:
        with claimed(bundle.folder):
            yield
    except FileNotFoundError as error:
        if bundle.folder.exists():
            raise
        raise InputNotFoundError(f"{bundle.folder} was removed just now. Run the same command again.") from error


@contextmanager
def _target(config: ScoreConfig, lake: Lake, source: ScoreInput) -> Iterator[Path]:
    """The file to write, locked; output for stdout is copied there once it is complete."""
    if config.to_stdout:
        with TemporaryDirectory(prefix="pipeline-score-") as folder:
            path = Path(folder) / "stdout"
            yield path
            # The reader may stop before the end, as head does.
            with suppress(BrokenPipeError), path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
                sys.stdout.buffer.flush()
        return
    output = output_place(config, lake, source)
    from pipeline.lake.locks import locked_output

    with locked_output(output, f"scoring to {output}"):
        yield output


def _score(plan: ScorePlan, lake: Lake, this: Run) -> None:
    config, output = plan.config, plan.output
    if not config.force and not config.to_stdout and (rows := _rows_there(plan, lake)) is not None:
        drift = recorded_drift(config, lake, output, plan.bundle.model_id) if config.fail_on_drift else None
        if drift is not None or not config.fail_on_drift:
            this.read = this.known = rows
            this.quarantined = len(plan.source.faults)
            this.metrics = {"quarantined_files": named_faults(plan.source.faults)}
            this.nothing_new = True
            _note_drift(this, config, {} if drift is None else {"drift": drift})
            return
    # torch is imported here, after everything that can be wrong with input and output was looked at.
    with collector_paused():
        check_measurable(config, plan.bundle)
        from pipeline.scoring.notes import write_note
        from pipeline.scoring.predictor import Predictor

    sweep(output)
    with Predictor(plan.bundle, config.device, config.batch_size, config.precision) as predictor:
        while True:
            try:
                # What goes to stdout is not written until it is copied there.
                with atomic_path(output, nullcontext() if config.to_stdout else committing(this)) as temporary:
                    _score_once(plan, this, predictor, temporary)
                    if not plan.is_parquet and not config.to_stdout:
                        write_note(lake.predictions, output, temporary, plan.metadata, this.written)
                break
            except FileFault as fault:
                plan = plan.without(fault)
                log.warning("%s; starting over without it", fault, extra=IN_FIGURES)


def _note_drift(this: Run, config: ScoreConfig, metrics: dict[str, Any]) -> None:
    """Adds what was measured; with `--fail-on-drift`, a run over drifted reviews does not end with 0 or 99."""
    this.metrics |= metrics
    this.failed_check = config.fail_on_drift and bool(metrics.get("drift", {}).get("drifted"))


def _score_once(plan: ScorePlan, this: Run, predictor: "Predictor", temporary: Path) -> None:
    """Writes the scored rows.

    Raises:
        FileFault: a source turned out to be faulty.
        DataError: too much is bad.
    """
    from pipeline.lake.reject_writer import RejectCounts
    from pipeline.progress import track
    from pipeline.readers.summary import summarize
    from pipeline.scoring.explain import explanations
    from pipeline.scoring.outputs import predicted_columns, with_abstained

    config, source, bundle = plan.config, plan.source, plan.bundle
    figures, rejects, faults = _Figures(bundle.labels), RejectCounts(), list(source.faults)
    vocabulary = bundle.load_vocabulary() if config.explain else None
    watch = Watch(config, bundle)
    with track("scoring", source.rows()) as progress, plan.writer(temporary) as writer:
        for window, probability_NC in _scored_windows(plan, predictor):
            raise_if_swallowed()
            reason_N = with_abstained(probability_NC, window.reason, config.abstain_below)
            columns = predicted_columns(probability_NC, reason_N, bundle.labels, bundle.model_id)
            if vocabulary is not None:
                columns.append(explanations(predictor, vocabulary, window.ids, probability_NC))
            writer.write(window.batches, columns)
            rejects.count(window.bad)
            faults += window.faults
            figures.add(window, probability_NC, reason_N)
            watch.add(window.ids, probability_NC)
            progress.advance(len(window))
    this.written, this.rejected, this.quarantined = writer.rows, rejects.rows, len(faults)
    this.read = figures.rows + rejects.rows
    summarize(rejects, faults, None)
    _check_bad(config, this, rejects, faults, source.files)
    this.check_counts()
    this.metrics = figures.summary(predictor) | {"rejects": rejects.by_reason, "quarantined_files": named_faults(faults)}
    _note_drift(this, config, watch.conclude())


def _scored_windows(plan: ScorePlan, predictor: "Predictor") -> "Iterator[tuple[Window, Probabilities]]":
    """Yields windows in the input's order with their probabilities; the one after is scored meanwhile."""
    from pipeline.datapipes.parallel_map import ParallelMap
    from pipeline.datapipes.score_encode import text_encoder
    from pipeline.datapipes.score_read import ReadTables
    from pipeline.datapipes.score_window import Windows

    reader = ReadTables(plan.source.tables, plan.source.schema.names)
    encode = text_encoder(plan.bundle.load_vocabulary(), plan.kept, json_as_is=plan.json_as_is)
    workers = plan.config.workers or max(1, min(4, (os.cpu_count() or 1) // 2))
    with ParallelMap(reader, encode, workers) as encoded:
        before = None
        for window in Windows(encoded, READ_ROWS, WINDOW_ROWS, WINDOW_BYTES):
            pending = predictor.submit(window.ids)
            if before is not None:
                yield before[0], before[1].result()
            before = window, pending
        if before is not None:
            yield before[0], before[1].result()


class _Figures:
    """Counts for the receipt."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        from pipeline.scoring.outputs import REASONS

        self.labels = labels
        self.predicted = dict.fromkeys(labels, 0)
        self.unscored = {reason: 0 for reason in REASONS if reason is not None}
        self.rows = self.tokens = 0

    def add(self, window: "Window", probability_NC: "Probabilities", reason_N: "Reasons") -> None:
        import numpy as np

        self.rows += len(window)
        self.tokens += len(window.ids.values)
        for reason, count in zip(self.unscored, np.bincount(reason_N, minlength=len(self.unscored) + 1)[1:], strict=True):
            self.unscored[reason] += int(count)
        counts = np.bincount(probability_NC[reason_N == 0].argmax(axis=1), minlength=len(self.labels))
        for label, count in zip(self.labels, counts.tolist(), strict=True):
            self.predicted[label] += count

    def summary(self, predictor: "Predictor") -> dict[str, Any]:
        return {
            "unscored": self.unscored,
            "tokens": self.tokens,
            "predicted": self.predicted,
            "device": predictor.device.type,
            "precision": predictor.precision,
            "threads": predictor.threads,
        }


def _rows_there(plan: ScorePlan, lake: Lake) -> int | None:
    """The rows of the output where it is what this run would write, else None."""
    named = plan.config.output is not None
    if plan.is_parquet:
        from pipeline.scoring.outputs import rows_scored

        return rows_scored(plan.output, plan.metadata, named, partial(wrote, lake, plan.output))
    from pipeline.scoring.notes import rows_noted

    return rows_noted(lake.predictions, plan.output, plan.metadata, named)


def _check_bad(config: ScoreConfig, this: Run, rejects: "RejectCounts", faults: list[FileFault], files: int) -> None:
    """Raises `DataError` when more is bad than is allowed."""

    check_files(config, faults, files)
    if config.row_limit.is_passed(rejects.malformed, this.read):
        problem = f"{rejects.malformed:,} of {this.read:,} rows are malformed; --max-bad allows {config.row_limit}"
    elif rejects.rows and not this.written:
        problem = f"{rejects.rows:,} of {this.read:,} rows were rejected, so none are left"
    else:
        return
    raise DataError(
        f"{problem}; nothing was written. The first: {rejects.first_described}. Fix the rows, or allow more with --max-bad."
    )
