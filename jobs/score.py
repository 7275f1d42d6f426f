"""`pipeline score`: raw reviews → the same rows with predictions.

Reading and tokenizing run ahead of the forward pass, in threads or in tasks of a cluster (`pipeline.engines.score`). Within
a window the reviews are sorted by length; their order is restored before they are written.
"""

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from jobs.drift import Watch, note_drift, recorded_drift
from jobs.runtime import Run, committing, recorded_run
from jobs.score_each import ScoreEach
from jobs.score_figures import Figures
from jobs.score_plan import ScorePlan, bad_rows, check_files, is_scored_one_by_one, naming, output_place
from pipeline.config.score import STDIN, STDOUT, ScoreConfig
from pipeline.engines.score import Request, Scoring, open_scoring
from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.lake.atomic import atomic_path, claimed, sweep
from pipeline.lake.paths import Lake
from pipeline.lake.store import is_uri
from pipeline.process import collector_paused
from pipeline.progress import IN_FIGURES
from pipeline.readers.base import FileFault
from pipeline.readers.mirror import Mirror, Output, mirrored
from pipeline.readers.registry import format_named
from pipeline.readers.summary import named_faults
from pipeline.scoring.inputs import STDIN_NAME, ScoreInput, find_sources, open_input, spooled_stdin, warn_of_table
from pipeline.signals import raise_if_swallowed
from schemas.run import Receipt

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle
    from pipeline.progress import Progress
    from pipeline.scoring.answers import Answer

log = logging.getLogger(__name__)


def run(config: ScoreConfig) -> Receipt:
    """Scores the input.

    Raises:
        PipelineError: see `pipeline.errors`; the output is then as it was.
    """
    lake = Lake(config.lake)
    places = config.sources if config.output is None else (*config.sources, config.output)
    with (
        recorded_run("score", lake, config) as this,
        _model(lake, config) as bundle,
        spooled_stdin(config.sources) as stdin,
        mirrored(places, lake.scratch) as mirror,
        ExitStack() as present,
    ):
        format = None if config.format is None else format_named(config.format)
        name_of = mirror.name_of(lake.relative, lake.place)
        with mirror.listed(config.sources) as paths:
            found = find_sources(paths, name_of, format=format, settle_seconds=config.settle, stdin=stdin)
        found.sources = mirror.remote(found.sources)
        mirror.warn_of_empty(found.sources)
        if stdin is not None and format is None:
            warn_of_table(stdin, config.text_column)
        if not found.sources and not found.faults:
            this.nothing_new = True  # all of it was written a moment ago
            return this.receipt()
        try:
            config, output = _mirrored(config, paths, mirror)
            is_one_object = [str(source.path) for source in found.sources] == paths
            if is_one_object:  # the path of a file that is not there would be taken for a folder
                found.sources = [present.enter_context(mirror.present(source)) for source in found.sources]
            if is_scored_one_by_one(config):
                ScoreEach(config, lake, this, bundle, found, mirror).run(write_rows)
                return this.receipt()
            names = [STDIN_NAME if path == STDIN else name_of(Path(path).expanduser()) for path in paths]
            if not is_one_object:
                found.sources = [present.enter_context(mirror.present(source)) for source in found.sources]
            source = open_input(", ".join(names), found, config.text_column, config.keep, config.reading)
            with _target(config, lake, source) as target:
                this.outputs |= {"predictions": STDOUT if config.to_stdout else target, "model": bundle.model_id}
                _score(ScorePlan.of(config, source, bundle, target), lake, this, output)
        except FileFault as fault:
            raise DataError(f"{fault}. Nothing was written.", brief=f"{fault.brief}. Nothing was written.") from fault
    return this.receipt()


def _mirrored(config: ScoreConfig, paths: list[str], mirror: Mirror) -> tuple[ScoreConfig, Output | None]:
    """The options with paths in the mirror in place of URIs, and the output if it is one."""
    if config.output is None or not is_uri(config.output):
        return replace(config, sources=tuple(paths)), None
    if config.to_folder:
        raise UsageError(
            f"--output {config.output}: one output per input can only be written to a folder. Name one file for all "
            "inputs, such as s3://bucket/scored.parquet, or write to the predictions/ of a lake with a URI."
        )
    output = mirror.output(config.output)
    return replace(config, sources=tuple(paths), output=str(output.path)), output


def answers(config: ScoreConfig) -> "list[Answer]":
    """Scores the reviews of `--text`; nothing is written, not even a record of the run."""
    from pipeline.models.bundle import find_bundle

    bundle = find_bundle(Lake(config.lake), config.model, "--model")
    with collector_paused():
        from pipeline.scoring.answers import answer
        from pipeline.scoring.predictor import Predictor
    with Predictor(bundle, config.device, config.batch_size, config.precision) as predictor:
        return answer(predictor, config.text, config.abstain_below, explain=config.explain)


@contextmanager
def _model(lake: Lake, config: ScoreConfig) -> "Iterator[Bundle]":
    """The model, before anything is said of the input, and before a lock file is made."""
    from pipeline.models.bundle import find_bundle

    bundle = find_bundle(lake, config.model, "--model")
    with _held(bundle):
        yield bundle


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


def _score(plan: ScorePlan, lake: Lake, this: Run, remote: Output | None) -> None:
    config, output = plan.config, plan.output
    if not config.force and not config.to_stdout and (there := plan.there(lake, naming(config))) is not None:
        drift = recorded_drift(config, lake, output, plan.bundle.model_id, there.rows) if config.fail_on_drift else None
        if drift is not None or not config.fail_on_drift:
            this.read = this.known = there.rows
            this.quarantined = len(plan.source.faults)
            this.metrics = {"quarantined_files": named_faults(plan.source.faults)}
            this.nothing_new = True
            note_drift(this, config, {} if drift is None else {"drift": drift})
            return
    from pipeline.scoring.notes import write_note

    watch = Watch.of(config, plan.bundle)
    sweep(output)
    # torch is imported here, if at all, after everything that can be wrong with input and output was looked at.
    with open_scoring(plan.bundle, config) as scoring:
        while True:
            try:
                # What goes to stdout is not written until it is copied there.
                with atomic_path(output, nullcontext() if config.to_stdout else _put(this, lake, remote)) as temporary:
                    _score_once(plan, this, scoring, watch.another(), temporary)
                    if not plan.is_parquet and not config.to_stdout:
                        write_note(lake.predictions, output, temporary, plan.metadata, this.written)
                break
            except FileFault as fault:
                plan = plan.without(fault)
                log.warning("%s; starting over without it", fault, extra=IN_FIGURES)


@contextmanager
def _put(this: Run, lake: Lake, remote: Output | None) -> Iterator[None]:
    """For the block in which the output appears: one with a URI is in its store when the run is done."""
    with committing(this, lake):
        yield
        if remote is not None:
            remote.put()


def _score_once(plan: ScorePlan, this: Run, scoring: Scoring, watch: Watch, temporary: Path) -> None:
    """Writes the scored rows.

    Raises:
        FileFault: a source turned out to be faulty.
        DataError: too much is bad.
    """
    from pipeline.progress import track
    from pipeline.readers.summary import summarize

    config, source = plan.config, plan.source
    with track("scoring", source.rows()) as progress:
        figures = write_rows(plan, scoring, watch, temporary, progress)
    rejects, faults = figures.rejects, [*source.faults, *figures.faults]
    this.written, this.rejected, this.quarantined = figures.written, rejects.rows, len(faults)
    this.read = figures.rows + rejects.rows
    summarize(rejects, faults, None)
    check_files(config, faults, source.files)
    if problem := bad_rows(config, figures.rows, rejects):
        raise problem
    this.check_counts()
    this.metrics = figures.summary(scoring) | {"quarantined_files": named_faults(faults)}
    whole = watch.another()
    whole.absorb(watch, source.name)
    note_drift(this, config, whole.conclude())


def write_rows(plan: ScorePlan, scoring: Scoring, watch: Watch, temporary: Path, progress: "Progress") -> Figures:
    """Writes the scored rows, and counts them."""
    from pipeline.datapipes.background import Background
    from pipeline.scoring.outputs import predicted_columns, with_abstained

    config, bundle = plan.config, plan.bundle
    figures = Figures(bundle.labels)
    request = Request(source=plan.source, kept=plan.kept, json_as_is=plan.json_as_is)
    # Columns are compressed while the model scores the next window.
    with plan.writer(temporary) as writer, Background(writer.write) as write:
        for window, probability_NC, explanation in scoring.windows(request):
            raise_if_swallowed()
            reason_N = with_abstained(probability_NC, window.reason, config.abstain_below)
            columns = predicted_columns(probability_NC, reason_N, bundle.labels, bundle.model_id)
            if explanation is not None:
                columns.append(explanation)
            write(window.batches, columns)
            figures.add(window, probability_NC, reason_N)
            watch.add(window, probability_NC)
            progress.advance(len(window))
    figures.written = writer.rows
    return figures
