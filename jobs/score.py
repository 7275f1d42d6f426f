"""`pipeline score`: a Parquet file of raw reviews → the same rows with predictions.

Reading and tokenizing run in threads ahead of the forward pass; within a window the reviews are sorted by length, their
order is restored before they are written. The next window is always on its way to the model while one is written.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.runtime import Run, collector_paused, committing, recorded_run
from pipeline.config.score import ScoreConfig
from pipeline.errors import UsageError
from pipeline.lake.atomic import atomic_path, sweep, writing
from pipeline.lake.paths import Lake
from pipeline.lake.runs import wrote
from pipeline.scoring.inputs import ScoreInput, open_input
from pipeline.scoring.options import resolve_precision
from schemas.run import Receipt

if TYPE_CHECKING:
    from pipeline.datapipes.score_window import Window
    from pipeline.models.bundle import Bundle
    from pipeline.scoring.predictor import Predictor, Probabilities

READ_ROWS = 1024
"""Rows that are read and tokenized at once, and those of the first window."""
WINDOW_ROWS = 8192
WINDOW_BYTES = 64 << 20
"""A window holds so many rows, or bytes of columns and ids, whatever comes first: sorting more than that gains nothing."""


def run(config: ScoreConfig) -> Receipt:
    """Scores the input.

    Raises:
        PipelineError: see `pipeline.errors`; the output is then as it was.
    """
    lake = Lake(config.lake)
    with recorded_run("score", lake, config) as this:
        source = open_input(config.source, config.text_column, config.keep)
        output = _output(config, lake, source)
        from pipeline.lake.locks import locked_output
        from pipeline.models.bundle import find_bundle

        bundle = find_bundle(lake, config.model)  # before a lock file is made
        with locked_output(output, f"scoring to {output}"):
            _score(config, lake, this, source, output, bundle)
    return this.receipt()


def _score(config: ScoreConfig, lake: Lake, this: Run, source: ScoreInput, output: Path, bundle: "Bundle") -> None:
    from pipeline.scoring.outputs import is_scored, output_metadata, output_schema

    this.outputs |= {"predictions": output, "model": bundle.model_id}
    options = {
        "text_column": config.text_column,
        "keep": list(source.columns),
        "precision": resolve_precision(config.precision),
        "explain": config.explain,
    }
    metadata = output_metadata(bundle.model_id, lake.relative(source.path), source.sha256(), options)
    schema = output_schema(source, bundle.labels, metadata, config.explain)
    if not config.force and is_scored(output, metadata, config.output is not None, partial(wrote, lake, output)):
        this.read = this.known = source.rows
        this.nothing_new = True
        return
    # torch is imported here, after everything that can be wrong with input and output was looked at.
    with collector_paused():
        from pipeline.progress import track
        from pipeline.scoring.explain import explanations
        from pipeline.scoring.outputs import PredictionWriter, predicted_columns
        from pipeline.scoring.predictor import Predictor

    sweep(output)
    with (
        Predictor(bundle, config.device, config.batch_size, config.precision) as predictor,
        track("scoring", source.rows) as progress,
        atomic_path(output, committing(this)) as temporary,
    ):
        figures = _Figures(bundle.labels)
        vocabulary = bundle.load_vocabulary() if config.explain else None
        with PredictionWriter(temporary, schema) as writer:
            for window, probability_NC in _scored_windows(config, source, bundle, predictor):
                columns = predicted_columns(probability_NC, bundle.labels, bundle.model_id)
                if vocabulary is not None:
                    columns.append(explanations(predictor, vocabulary, window.ids, probability_NC))
                writer.write(window.batches, columns)
                this.read += len(window)
                figures.add(window, probability_NC)
                progress.advance(len(window))
        source.check_unchanged()
        this.written = writer.rows
        this.check_counts()
        this.metrics = figures.summary(predictor)


def _scored_windows(
    config: ScoreConfig, source: ScoreInput, bundle: "Bundle", predictor: "Predictor"
) -> "Iterator[tuple[Window, Probabilities]]":
    """Yields windows in the input's order with their probabilities; the one after is scored meanwhile."""
    from pipeline.datapipes.parallel_map import ParallelMap
    from pipeline.datapipes.score_encode import text_encoder
    from pipeline.datapipes.score_read import ParquetReader
    from pipeline.datapipes.score_window import Windows

    reader = ParquetReader(source.files, source.read_columns, READ_ROWS)
    encode = text_encoder(bundle.load_vocabulary(), source.text_column, source.columns)
    workers = config.workers or max(1, min(4, (os.cpu_count() or 1) // 2))
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
        self.labels = labels
        self.predicted = dict.fromkeys(labels, 0)
        self.unscored = self.tokens = 0

    def add(self, window: "Window", probability_NC: "Probabilities") -> None:
        import numpy as np

        null = np.isnan(probability_NC[:, 0])
        self.unscored += int(null.sum())
        self.tokens += len(window.ids.values)
        counts = np.bincount(probability_NC[~null].argmax(axis=1), minlength=len(self.labels))
        for label, count in zip(self.labels, counts.tolist(), strict=True):
            self.predicted[label] += count

    def summary(self, predictor: "Predictor") -> dict[str, Any]:
        return {
            "unscored": self.unscored,
            "tokens": self.tokens,
            "predicted": self.predicted,
            "device": str(predictor.device),
            "precision": predictor.precision,
            "threads": predictor.threads,
        }


def _output(config: ScoreConfig, lake: Lake, source: ScoreInput) -> Path:
    """Where to write.

    Raises:
        UsageError: a folder, the input itself, or a place inside the input's folder.
        CannotWriteError: a name that cannot be.
    """
    name = source.path.resolve().name
    output = config.output or lake.predictions / f"{name.removesuffix('.pq').removesuffix('.parquet')}.parquet"
    output = output.expanduser().resolve()
    with writing(output):
        if output.is_dir():
            raise UsageError(f"--output {output} is a folder. Name a file in it, such as {output / 'predictions.parquet'}.")
        inside = source.path.is_dir() and output.is_relative_to(source.path.resolve())
        if inside or any(output == file.resolve() or (output.exists() and output.samefile(file)) for file in source.files):
            raise UsageError(
                f"--output {output} lies in what is to be scored, which 'pipeline score' never changes. Name another file."
            )
    return output
