"""Finished trainings: the bundle appears whole, then the decision whether it goes live, and the checkpoints go. And whether
one was done before."""

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.illustrate import illustrate
from jobs.promotion import conclude
from jobs.reference import refer
from jobs.runtime import Run
from jobs.training import Trained
from pipeline.config.train import TrainConfig
from pipeline.errors import InputNotFoundError, PipelineError
from pipeline.lake.atomic import PREFIX, claimed, make_folder, sync_file, sync_folder, writing
from pipeline.lake.decisions import decision_of
from pipeline.lake.live import TRAINED, make_live
from pipeline.lake.paths import FoldLake, Lake
from pipeline.models.bundle import Bundle, model_ids, read_bundle, save_bundle, verify_bundle
from pipeline.order.selection import Part, select_as_trained
from pipeline.progress import AS_IT_IS, BRIEF
from pipeline.scoring.judge import write_judge
from pipeline.tasks.base import Task
from pipeline.tasks.classification import Classification
from pipeline.tasks.registry import task_of
from pipeline.training.checkpoint import TrainingFolder, same_training
from pipeline.training.data import TrainingData
from pipeline.training.metrics import write_metrics

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
            log.warning("skipped %s: %s", folder, error, extra=AS_IT_IS)
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
    task: Task,
    identity: dict[str, Any],
    trained: Trained,
    folder: TrainingFolder,
    parts: Mapping[str, Part],
) -> None:
    """Writes the bundle into a temporary folder and renames it to the training's id.

    Raises:
        CannotWriteError: no permission, no space.
    """
    temporary = make_folder(config.lake.models) / f"{PREFIX}{folder.training_id}"
    shutil.rmtree(temporary, ignore_errors=True)
    with claimed(temporary, make_folder):
        _write_bundle(config, data, task, identity, trained, folder, parts, temporary)
        publish(temporary, config.lake.models / folder.training_id)


def _write_bundle(
    config: TrainConfig,
    data: TrainingData,
    task: Task,
    identity: dict[str, Any],
    trained: Trained,
    folder: TrainingFolder,
    parts: Mapping[str, Part],
    temporary: Path,
) -> None:
    """Writes the bundle's files and syncs them: they are on the disk before the bundle gets its name."""
    write_metrics(temporary / "metrics.parquet", trained.rows)
    save_bundle(
        temporary,
        model=trained.model,
        arch=config.arch,
        labels=task.labels_of_bundle(),
        task=task.described(),
        tokenizer=data.vocabulary.tokenizer,
        max_length=config.read_length,
        vocabulary=data.vocabulary,
        table_version=data.table_version,
        metrics=trained.metrics,
        training=identity,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        judged=not isinstance(config.lake, FoldLake),
    )
    write_judge(temporary, parts["test"])
    try:
        if isinstance(task, Classification):  # drift of predicted numbers is not measured
            refer(temporary, data.vocabulary, parts)
    except Exception as error:  # the model is worth more than this
        log.warning("no reference (%s: %s): scoring will not measure drift", type(error).__name__, error)
    try:
        illustrate(temporary, tuple(data.shards), data.vocabulary, parts)
        # A machine that only trains may lack matplotlib and jinja2; the bundle is then whole without a report.
        from pipeline.reports.write import write_report

        write_report(temporary, model_id=folder.training_id, models=config.lake.models)
    except Exception as error:  # whatever it is, the model is worth more than its picture
        text = "no report (%s: %s); create one with 'pipeline report'"
        brief = f"no report ({type(error).__name__}); create one with 'pipeline report'"
        log.warning(text, type(error).__name__, error, extra={BRIEF: brief})
    for path in temporary.iterdir():
        sync_file(path)
    sync_folder(temporary)


def publish(temporary: Path, target: Path) -> None:
    """Renames the temporary folder of a bundle."""
    if target.exists():
        # An earlier process was killed after the rename; its bundle is this one.
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        with writing(target):
            temporary.rename(target)
    sync_folder(target.parent)


def finish_training(config: TrainConfig, data: TrainingData, folder: TrainingFolder, test: Part, run: Run) -> None:
    """The last steps, which a kill may cut off: the decision, LATEST, and the end of the checkpoints."""
    if isinstance(config.lake, FoldLake):
        make_live(config.lake, folder.training_id, TRAINED)
    else:
        conclude(config, data, read_bundle(config.lake.models / folder.training_id), test, run)
    folder.remove()
    config.lake.push("train")


def finish_late(config: TrainConfig, data: TrainingData, bundle: Bundle, run: Run) -> bool:
    """Does what a kill after the bundle's appearance has cut off; gives whether that was a decision.

    Finding a model that was trained before moves LATEST only where it does not name a model.
    """
    lake, model_id = config.lake, bundle.model_id
    folder = TrainingFolder(lake.checkpoints / model_id)
    decision = decision_of(lake, model_id)
    if bundle.judged and decision is None:
        test = select_as_trained(data.shards, task_of(bundle), bundle.training).part("test")
        finish_training(config, data, folder, test, run)
        return True
    folder.remove()
    try:
        named = lake.latest_model()
    except PipelineError as error:
        named = ""
        log.warning("%s", error, extra=AS_IT_IS)
    if named not in model_ids(lake) and (decision is None or decision.promoted):
        make_live(lake, model_id, TRAINED)
        log.info("LATEST is now %s%s", model_id, f", no longer {named}" if named else "")
    elif named != model_id:
        instead = f"the live model is {named}" if named else "no model is live"
        log.info("%s; 'pipeline models promote %s' makes %s the live one", instead, model_id, model_id)
    return False
