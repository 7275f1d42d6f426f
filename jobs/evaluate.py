"""Evaluates a model on labelled reviews: those of the table, of plain shards, or of any files that ingest reads."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jobs.runtime import Run, recorded_run
from pipeline.config.evaluate import EvaluateConfig
from pipeline.errors import DataError, InputNotFoundError, PipelineError
from schemas.bad_row import CHOSEN
from schemas.run import Receipt

if TYPE_CHECKING:
    from pipeline.datapipes.tokenize_reviews import TokenizedBatch
    from pipeline.models.bundle import Bundle
    from pipeline.readers.mirror import Mirror
    from pipeline.reports.metrics import Measures
    from pipeline.reports.numbers import NumberMeasures
    from pipeline.scoring.predictor import Predictor
    from schemas.reject import BadRow

log = logging.getLogger(__name__)

NO_DEFECT = CHOSEN | {"unmapped"}
"""Reasons of rejects that somebody asked for."""


def run(config: EvaluateConfig) -> Receipt:
    """Evaluates. A split of the table is cut exactly as it was for the model's training.

    Raises:
        InputNotFoundError: no such model, table or file, or no labelled review in the split.
        DataError: the data has another vocabulary or other labels than the model, or is damaged.
    """
    from pipeline.models.bundle import find_bundle
    from pipeline.readers.base import FileFault
    from pipeline.scoring.predictor import Predictor

    with recorded_run("evaluate", config.lake, config) as run:
        bundle = find_bundle(config.lake, config.model, "--model")
        run.outputs = {"model": bundle.folder, "model_id": bundle.model_id}
        config.check_task(bundle.model_id, bundle.task)
        with Predictor(bundle, config.device, config.batch_size, config.precision) as predictor:
            if config.sources:
                try:
                    measures, about = _of_sources(config, run, bundle, predictor)
                except FileFault as fault:
                    raise DataError(f"{fault}. Nothing was evaluated.") from fault
            else:
                measures, about = _of_table(config, run, bundle, predictor)
        run.metrics = about | measures.to_dict()
    return run.receipt()


def _of_table(
    config: EvaluateConfig, run: Run, bundle: "Bundle", predictor: "Predictor"
) -> "tuple[Measures | NumberMeasures, dict[str, Any]]":
    from jobs.illustrate import scored_numbers, scored_part
    from pipeline.order.selection import PARTS, select_as_trained
    from pipeline.reports.data import measures_of, number_measures_of
    from pipeline.tasks.registry import task_of
    from pipeline.training.data import open_data

    version = config.table_version
    if version is None and config.tokens is None:
        version = bundle.table_version
    data = open_data(config.lake, tokens=config.tokens, table_version=version, vocabulary=config.vocabulary)
    if data.vocabulary.fingerprint != bundle.vocabulary:
        raise DataError(
            f"the shards have the vocabulary {data.vocabulary.fingerprint}, but {bundle.model_id} was trained with "
            f"{bundle.vocabulary}. Choose the matching version with --table-version, or train a new model."
        )
    selection = select_as_trained(data.shards, task_of(bundle), bundle.training)
    parts = {name: selection.part(name) for name in PARTS}
    split = config.split or ("test" if parts["test"].rows else "valid")
    if not parts[split].rows:
        raise InputNotFoundError(f"no labelled reviews in the split {split!r}. Choose another with --split.")
    if bundle.task:
        numbers = scored_numbers(predictor, split, parts[split], config.workers)
        run.read = len(numbers)
        run.outputs["table_version"] = data.table_version
        return number_measures_of(numbers), {"split": split}
    table = scored_part(predictor, split, parts[split], config.workers)
    run.read = len(table)
    run.outputs["table_version"] = data.table_version
    return measures_of(table, bundle.labels, bundle.model_id), {"split": split}


def _of_sources(
    config: EvaluateConfig, run: Run, bundle: "Bundle", predictor: "Predictor"
) -> "tuple[Measures | NumberMeasures, dict[str, Any]]":
    import numpy as np
    import pyarrow as pa

    from pipeline.progress import track
    from pipeline.readers.mirror import mirrored
    from pipeline.reports.metrics import Measures
    from pipeline.reports.numbers import NumberMeasures

    vocabulary = bundle.load_vocabulary()
    labels, scores = [], []
    bad: list[BadRow] = []
    unlabelled = elsewhere = 0
    mirrors = mirrored(config.sources, config.lake.scratch)
    with mirrors as mirror, track(f"evaluating {bundle.model_id}") as progress:
        for batch in _tokenized(config, bundle, mirror):
            bad += batch.bad
            run.read += batch.read
            targets = batch.rows["target"] if bundle.task else vocabulary.label_ids(batch.rows["label"])
            split = batch.rows["split"]
            known = targets.is_valid().to_numpy(zero_copy_only=False)
            here = np.array([config.split in (None, one) for one in split.to_pylist()], dtype=bool)
            unlabelled += int((~known & here).sum())
            elsewhere += int((~here).sum())
            keep = known & here
            labels.append(targets.to_numpy(zero_copy_only=False)[keep].astype(np.float64 if bundle.task else np.int64))
            scores.append(predictor.predict(vocabulary.encode(batch.tokens.filter(pa.array(keep)))))
            progress.advance(batch.read)
    run.rejected = len(bad)
    _check_bad(config, run, bad, has_labels=not bundle.task)
    found = np.concatenate([np.zeros(0, np.int64), *labels])
    if not len(found):
        first = f" The first reject: {bad[0].source}, row {bad[0].row}: {bad[0].detail}." if bad else ""
        within = f" in the split {config.split!r}" if config.split else ""
        what, remedy = (
            ("number", "Name the column with the numbers (--target-column).")
            if bundle.task
            else (
                "label",
                "Set the column with --label-column and map its values to classes with --label-map. The model's labels: "
                f"{', '.join(bundle.labels)}.",
            )
        )
        raise DataError(
            f"no labelled reviews{within} in {', '.join(config.sources)}: {unlabelled:,} without a {what}, {elsewhere:,} "
            f"in other splits, {len(bad):,} rejected.{first} {remedy}"
        )
    answers_NC = np.concatenate(scores).astype(np.float64)
    measures: Measures | NumberMeasures
    if bundle.task:
        measures = NumberMeasures(target_N=found, predicted_N=answers_NC[:, 0])
    else:
        measures = Measures(names=bundle.labels, labels_N=found, probability_NC=answers_NC)
    reasons = dict(Counter(row.reason for row in bad))
    about = {"split": config.split, "unlabelled": unlabelled, "other_splits": elsewhere, "rejects": reasons}
    return measures, about


def _tokenized(config: EvaluateConfig, bundle: "Bundle", mirror: "Mirror") -> "Iterator[TokenizedBatch]":
    """The labelled reviews of the sources, read and checked as ingest does."""
    from pipeline.datapipes.parallel_map import ParallelMap
    from pipeline.datapipes.read_reviews import ReadReviews
    from pipeline.datapipes.source_reader import SourceEnds
    from pipeline.datapipes.tokenize_reviews import TokenizedBatch, TokenizeReviews
    from pipeline.lake.known import KeyIndex
    from pipeline.readers.registry import described, format_named
    from pipeline.readers.values import OPTION as RULE_OPTION
    from pipeline.readers.walk import Walker

    forced = None if config.format is None else format_named(config.format)
    walker = Walker(name_of=mirror.name_of(config.lake.relative, config.lake.place), format=forced, settle_seconds=0.0)
    with mirror.listed(config.sources) as paths:
        found = walker.find(paths)
    found.sources = mirror.remote(found.sources)
    if found.faults:
        raise found.faults[0]
    if not found.sources:
        raise InputNotFoundError(f"no reviews in {', '.join(config.sources)}. Supported: {described()}.")
    _warn_of_training_data(config, bundle, [source.name for source in found.sources])
    vocabulary = bundle.load_vocabulary()
    rule = vocabulary.options.get(RULE_OPTION, 1)
    classes = {"labels": frozenset(bundle.labels), "label_map": config.label_map, "skip_labels": config.skip_labels}
    tokenize = TokenizeReviews(
        tokenizer=vocabulary.tokenizer,
        known=KeyIndex(),
        **({"target_column": config.numbers_of(bundle.task)} if bundle.task else classes),
        split=config.split,
        rule=rule,
    )
    reading = replace(config.reading, rule=rule)
    with ParallelMap(
        ReadReviews(mirror.arriving(found.sources), config.columns(bundle.task), reading), tokenize, config.workers
    ) as batches:
        for batch in batches:
            if isinstance(batch, SourceEnds) and batch.fault is not None:
                raise batch.fault
            if isinstance(batch, TokenizedBatch):
                if batch.faults:
                    raise batch.faults[0]
                yield batch


def _warn_of_training_data(config: EvaluateConfig, bundle: "Bundle", names: Sequence[str]) -> None:
    """Warns if the model's table has reviews of these sources in its split `train`."""
    from pipeline.lake.sources import sources_with_reviews
    from pipeline.lake.table import TokenTable
    from schemas.contract import ContractError

    if bundle.table_version is None or not config.lake.tokens.exists():
        return
    try:
        table = TokenTable.open(config.lake.tokens, bundle.table_version)
        if table.vocabulary != bundle.vocabulary:
            return  # the table of another lake
        met = sources_with_reviews([shard for shard in table.shards if shard.split == "train"], frozenset(names))
    except (PipelineError, ContractError):
        return  # an old version without its shards; evaluating needs none of them
    if met:
        more = f" and {len(met) - 1:,} more" if len(met) > 1 else ""
        log.warning(
            "%s%s: the lake has reviews of it in the split train, so the model may have been trained on them and these "
            "figures may be too high. 'pipeline evaluate' without SOURCE uses reviews that were held out",
            met[0],
            more,
        )


def _check_bad(config: EvaluateConfig, run: Run, bad: "list[BadRow]", *, has_labels: bool) -> None:
    """Raises `DataError` when more is bad than is allowed."""
    defects = [row for row in bad if row.reason not in NO_DEFECT]
    if config.max_bad.is_passed(len(defects), run.read):
        first = defects[0]
        remedy = "map the labels to classes with --label-map" if has_labels else "name another column with --target-column"
        raise DataError(
            f"{len(defects):,} of {run.read:,} rows cannot be evaluated; --max-bad allows {config.max_bad}. The first: "
            f"{first.source}, row {first.row}: {first.detail}. Fix the rows, {remedy}, or allow more with "
            "--max-bad."
        )
