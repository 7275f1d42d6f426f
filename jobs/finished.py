"""Finished trainings: the bundle appears whole, LATEST follows, the checkpoints go. And whether one was done before."""

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.illustrate import illustrate
from pipeline.config.train import TrainConfig
from pipeline.errors import InputNotFoundError, PipelineError
from pipeline.lake.atomic import PREFIX, claimed, make_folder, sync_file, sync_folder, writing
from pipeline.lake.live import TRAINED, make_live
from pipeline.lake.paths import Lake
from pipeline.models.bundle import Bundle, model_ids, read_bundle, save_bundle, verify_bundle
from pipeline.models.interface import Classifier
from pipeline.order.selection import Part
from pipeline.training.checkpoint import TrainingFolder, same_training
from pipeline.training.data import TrainingData
from pipeline.training.metrics import MetricsRow, write_metrics

log = logging.getLogger(__name__)


def find_finished(lake: Lake, identity: Mapping[str, Any], ignored: frozenset[str] = frozenset()) -> Bundle | None:
    """The newest model that was trained on the same data with the same options, apart from the names in `ignored`."""
    for name in sorted(model_ids(lake), key=lambda name: _written(lake.models / name), reverse=True):
        folder = lake.models / name
        try:
            bundle = read_bundle(folder)
            if not same_training(bundle.training, identity, ignored):
                continue
            verify_bundle(bundle)
        except (InputNotFoundError, ValueError) as error:
            log.warning("skipped %s: %s", folder, error)
            continue
        return bundle
    return None


def _written(folder: Path) -> int:
    """When a bundle was written, in nanoseconds; 0 where it went away just now."""
    try:
        return (folder / "model.json").stat().st_mtime_ns
    except OSError:
        return 0


def save_model(
    config: TrainConfig,
    data: TrainingData,
    identity: dict[str, Any],
    model: Classifier,
    rows: list[MetricsRow],
    folder: TrainingFolder,
    metrics: dict[str, Any],
    parts: Mapping[str, Part],
) -> None:
    """Writes the bundle into a temporary folder, renames it to the training's id, points LATEST to it.

    Raises:
        CannotWriteError: no permission, no space.
    """
    temporary = make_folder(config.lake.models) / f"{PREFIX}{folder.training_id}"
    shutil.rmtree(temporary, ignore_errors=True)
    with claimed(temporary, make_folder):
        _write_bundle(config, data, identity, model, rows, folder, metrics, parts, temporary)
        publish(config.lake, folder, temporary.name)


def _write_bundle(
    config: TrainConfig,
    data: TrainingData,
    identity: dict[str, Any],
    model: Classifier,
    rows: list[MetricsRow],
    folder: TrainingFolder,
    metrics: dict[str, Any],
    parts: Mapping[str, Part],
    temporary: Path,
) -> None:
    """Writes the bundle's files and syncs them: they are on the disk before the bundle gets its name."""
    write_metrics(temporary / "metrics.parquet", rows)
    save_bundle(
        temporary,
        model=model,
        arch=config.arch,
        labels=data.vocabulary.labels,
        tokenizer=data.vocabulary.tokenizer,
        max_length=config.read_length,
        vocabulary=data.vocabulary,
        table_version=data.table_version,
        metrics=metrics,
        training=identity,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    try:
        illustrate(temporary, tuple(data.shards), data.vocabulary, parts)
        # A machine that only trains may lack matplotlib and jinja2; the bundle is then whole without a report.
        from pipeline.reports.write import write_report

        write_report(temporary, model_id=folder.training_id, models=config.lake.models)
    except Exception as error:  # whatever it is, the model is worth more than its picture
        log.warning("no report (%s: %s); create one with 'pipeline report'", type(error).__name__, error)
    for path in temporary.iterdir():
        sync_file(path)
    sync_folder(temporary)


def publish(lake: Lake, folder: TrainingFolder, temporary: str) -> None:
    """Renames the temporary bundle, points LATEST to it, deletes the checkpoints."""
    target = lake.models / folder.training_id
    if target.exists():
        # An earlier process was killed between the rename and LATEST; its bundle is this one.
        shutil.rmtree(lake.models / temporary, ignore_errors=True)
    else:
        with writing(target):
            (lake.models / temporary).rename(target)
    sync_folder(lake.models)
    point_latest(lake, folder)


def point_latest(lake: Lake, folder: TrainingFolder) -> None:
    """The last steps, which a kill may have cut off: LATEST, and the end of the checkpoints."""
    make_live(lake, folder.training_id, TRAINED)
    folder.remove()


def finish_late(lake: Lake, model_id: str) -> None:
    """Does what a kill after the bundle's appearance has cut off. Finding a model that was trained before moves LATEST only
    where it does not name a model."""
    try:
        named = lake.latest_model()
    except PipelineError as error:
        named = ""
        log.warning("%s", error)
    folder = TrainingFolder(lake.checkpoints / model_id)
    if named == model_id:
        folder.remove()
    elif folder.path.exists() or named not in model_ids(lake):
        point_latest(lake, folder)
        log.info("LATEST is now %s%s", model_id, f", no longer {named}" if named else "")
    else:
        log.info("the live model is %s; 'pipeline models promote %s' puts %s in its place", named, model_id, model_id)
