"""Trains a classifier on the token shards and leaves a model bundle. One process, or one of several under a launcher."""

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.runtime import Run, recorded_run
from pipeline.config.train import TrainConfig
from pipeline.errors import DataError, LockedError
from pipeline.lake.atomic import claimed, make_folder
from pipeline.lake.paths import Lake
from pipeline.options.render import arguments
from pipeline.order.order import lanes_of_rank
from pipeline.signals import StopRequest, deferred_stop, settle
from schemas.run import Receipt

if TYPE_CHECKING:
    from pipeline.models.interface import ReviewClassifier
    from pipeline.order.selection import Part
    from pipeline.training.checkpoint import TrainingFolder
    from pipeline.training.data import TrainingData
    from pipeline.training.loop import LoopOptions, Trainer
    from pipeline.training.metrics import MetricsRow
    from pipeline.training.world import World

__all__ = ["TrainConfig", "run", "start"]

log = logging.getLogger(__name__)


def start(config: TrainConfig, finish: Callable[[Receipt], None]) -> None:
    """Runs in this process, or starts `nproc` workers that do; `finish` is called on the main one with the receipt."""
    from pipeline.engines import torchrun
    from pipeline.training.precision import check_device

    workers = 1 if torchrun.launched() else torchrun.num_workers(config.nproc)
    if workers == 1:
        receipt = run(config)
        if torchrun.is_main():
            finish(receipt)
        return
    # What can be refused is refused before the launcher starts workers, and starts them again when they are refused.
    lanes_of_rank(0, workers, config.order.num_lanes)
    check_device(config.device, workers)
    data = _open(config)
    if _finished(config, config.identity(data.identity)) is not None:
        finish(run(config))
    _new_model(config, data)
    torchrun.launch(["train", *arguments(config)], workers, config.max_restarts)


def run(config: TrainConfig) -> Receipt:
    """Trains, or continues, or finds that the same model is there already (exit code 99).

    Raises:
        InputNotFoundError: no table, shards, vocabulary or embeddings.
        DataError: nothing to learn from, or damaged data.
        UsageError: options that cannot be.
        LockedError: another process works on the same training.
        StoppedError: a signal; a checkpoint was written.
    """
    from pipeline.engines import torchrun

    if not torchrun.is_main():
        logging.getLogger().setLevel(logging.WARNING)
        worker = Run(run_id="", command="train")
        _run(config, worker)
        return worker.receipt()
    with recorded_run("train", config.lake, config) as run:
        _run(config, run)
    return run.receipt()


def _run(config: TrainConfig, run: Run) -> None:
    from jobs.finished import finish_late
    from pipeline.engines import local, torchrun

    data = _open(config)
    identity = config.identity(data.identity)
    if (bundle := _finished(config, identity)) is not None:
        log.info("%s was trained on the same data with the same options; --force trains again", bundle.model_id)
        run.nothing_new = True
        if torchrun.is_main():
            finish_late(config.lake, bundle.model_id)
        run.outputs = {"model": bundle.folder, "model_id": bundle.model_id, "table_version": bundle.table_version}
        run.metrics = dict(bundle.metrics)
        return
    join = torchrun.joined if torchrun.launched() else local.joined
    model = _new_model(config, data)
    with join(config.device) as world, deferred_stop() as stop:
        resume = config.resume or torchrun.restarts() > 0
        with _training_folder(config, identity, world, resume) as folder:
            trainer, parts = _trainer(config, data, model, world, folder, stop)
            if resume and (checkpoint := folder.read()) is not None:
                trainer.restore(checkpoint)
            _train(config, data, identity, trainer, parts, folder, run)


def _train(
    config: TrainConfig,
    data: "TrainingData",
    identity: dict[str, Any],
    trainer: "Trainer",
    parts: "dict[str, Part]",
    folder: "TrainingFolder",
    run: Run,
) -> None:
    from jobs.finished import save_model

    progress = trainer.run()
    trainer.load_best()
    run.read = sum(part.rows for part in parts.values())
    run.metrics = {
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "valid_loss": progress.best_loss,
        "valid_accuracy": progress.best_accuracy,
        "steps": progress.epoch * trainer.steps,
        "train_seconds": round(progress.train_seconds, 3),
        "tokens_per_second": round(progress.tokens / max(progress.train_seconds, 1e-9)),
        "wait_share": round(progress.wait_seconds / max(progress.train_seconds, 1e-9), 4),
    }
    if parts["test"].rows:
        started = time.perf_counter()
        test = trainer.evaluate(parts["test"], "test")
        trainer.add_test_row(test, time.perf_counter() - started)
        run.metrics |= {"test_loss": test.loss, "test_accuracy": test.accuracy}
    run.outputs = {
        "model": config.lake.models / folder.training_id,
        "model_id": folder.training_id,
        "table_version": data.table_version,
        "vocabulary": data.vocabulary.fingerprint,
        "report": config.lake.models / folder.training_id / "report.html",
    }
    if trainer.world.is_main:
        save_model(config, data, identity, trainer.model, trainer.rows(), folder, run.metrics, parts)
        settle()
        run.committed = True
    trainer.world.barrier()


def _new_model(config: TrainConfig, data: "TrainingData") -> "ReviewClassifier":
    """The model before its first step: a function of the options, the seed and the embeddings, so the same on every rank."""
    import torch

    from pipeline.models.layers.embeddings import load_embeddings
    from pipeline.models.registry import build_model

    tokens = data.vocabulary.tokens.to_pylist()
    options = {**config.model, "vocab_size": len(tokens), "num_classes": len(data.vocabulary.labels)}
    vectors_VE = None
    if config.embeddings is not None:
        vectors_VE = load_embeddings(config.embeddings, tokens)
        options.setdefault("embedding_dim", vectors_VE.shape[1])
    torch.manual_seed(config.seed)
    model = build_model(config.arch, options, tokens)
    if vectors_VE is not None:
        model.set_embedding(vectors_VE)
    return model


def _trainer(
    config: TrainConfig,
    data: "TrainingData",
    model: "ReviewClassifier",
    world: "World",
    folder: "TrainingFolder",
    stop: StopRequest,
) -> "tuple[Trainer, dict[str, Part]]":
    from pipeline.order.selection import shared_selection
    from pipeline.training.loop import Trainer

    num_classes = len(data.vocabulary.labels)
    selection, class_counts = shared_selection(world, data.shards, num_classes, config.valid_fraction)
    parts = {name: selection.part(name) for name in ("train", "valid", "test")}
    trainer = Trainer(
        model,
        parts["train"],
        parts["valid"],
        world,
        _loop_options(config, world, class_counts),
        num_classes=num_classes,
        folder=folder,
        interval=config.interval,
        stop=stop,
        on_epoch=_epoch_writer(config, folder) if world.is_main else None,
    )
    return trainer, parts


def _epoch_writer(config: TrainConfig, folder: "TrainingFolder") -> "Callable[[list[MetricsRow]], None]":
    from pipeline.training.metrics import write_metrics
    from pipeline.training.tensorboard import event_writer

    events = event_writer(config.lake.runs / "tensorboard" / folder.training_id) if config.tensorboard else None

    def write(rows: "list[MetricsRow]") -> None:
        write_metrics(folder.path / "metrics.parquet", rows)
        if events is not None:
            events(rows)

    return write


def _loop_options(config: TrainConfig, world: "World", class_counts: Any) -> "LoopOptions":
    from pipeline.datapipes.train_loader import LoaderOptions
    from pipeline.training.loop import LoopOptions
    from pipeline.training.precision import resolve_precision

    weights = None
    if config.class_weights == "balanced":
        weights = tuple(float(class_counts.sum() / (len(class_counts) * max(count, 1))) for count in class_counts)
    return LoopOptions(
        epochs=config.epochs,
        order=config.order,
        lr=config.lr,
        schedule=config.schedule,
        warmup=config.warmup,
        clip_norm=config.clip_norm,
        patience=config.patience,
        average=config.average,
        max_length=config.max_length,
        precision=resolve_precision(config.precision, world.device),
        embedding_update=config.embedding_update,
        class_weights=weights,
        loader=LoaderOptions(workers=config.workers, pin_memory=world.device.type == "cuda"),
    )


@contextmanager
def _training_folder(
    config: TrainConfig, identity: dict[str, Any], world: "World", resume: bool
) -> "Iterator[TrainingFolder]":
    """The folder of the training to continue, or of a new one; the main rank holds the lock of what is trained.

    When the block ends well, what killed runs have left of the same training goes too.
    """
    from pipeline.training.checkpoint import TrainingFolder, find_resumable, remove_unfinished

    with ExitStack() as held:

        def choose() -> tuple[dict[str, Any], Any]:
            alone = held.enter_context(_locked(config.lake, identity))
            if _finished(config, identity) is not None:
                raise LockedError("another run has finished the same training just now. Try again: nothing is left to do.")
            found = find_resumable(config.lake.checkpoints, identity) if resume else None
            if found is None:
                now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
                found = TrainingFolder(config.lake.checkpoints / f"{config.arch}-{now}-{secrets.token_hex(3)}")
                held.enter_context(claimed(make_folder(found.path)))
                found.begin(identity)
                log.info("training %s starts", found.training_id)
            else:
                held.enter_context(claimed(found.path))
                log.info("training %s goes on", found.training_id)
            return {"training_id": found.training_id, "alone": alone}, np.zeros(0, np.uint8)

        values, _ = world.from_main(choose)
        folder = TrainingFolder(config.lake.checkpoints / values["training_id"], config.keep_checkpoints)
        if world.is_main:
            folder.sweep()
        yield folder
        if world.is_main and values["alone"]:
            remove_unfinished(config.lake.checkpoints, identity)


@contextmanager
def _locked(lake: Lake, identity: dict[str, Any]) -> Iterator[bool]:
    """Holds the lock of what is trained, so that trainings with other options or data may run beside it; False where
    there are no locks."""
    try:
        from pipeline.lake.locks import locked
    except ModuleNotFoundError:
        log.warning("filelock is not installed: nothing keeps a second process off the same training")
        yield False
        return
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    with locked(lake.locks / f"train-{name}.lock", "the training with these options on this data"):
        yield True


def _open(config: TrainConfig) -> "TrainingData":
    from pipeline.training.data import open_data

    data = open_data(config.lake, tokens=config.tokens, table_version=config.table_version, vocabulary=config.vocabulary)
    labels = data.vocabulary.labels
    if len(labels) < 2:
        found = f"one class only ({labels[0]})" if labels else "no labels"
        raise DataError(
            f"the reviews have {found}; a classifier needs two. Ingest labelled reviews of another class too "
            "(aclImdb's folders, or --label-column)."
        )
    return data


def _finished(config: TrainConfig, identity: dict[str, Any]) -> Any:
    from jobs.finished import find_finished

    return None if config.force else find_finished(config.lake, identity)
