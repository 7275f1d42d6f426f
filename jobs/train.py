"""Trains a classifier on the token shards and leaves a model bundle. One process, or one of several under a launcher."""

import json
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.runtime import Run, recorded_run
from pipeline.errors import InputNotFoundError, UsageError, unknown_choice
from pipeline.lake.atomic import PREFIX, make_folder, sync_folder, write_text
from pipeline.lake.paths import Lake
from pipeline.models.registry import check_architecture
from pipeline.training.order import DEFAULT_LANES, WINDOW_ROWS, OrderOptions, lanes_of_rank
from pipeline.training.schedule import SCHEDULES
from schemas.run import Receipt

if TYPE_CHECKING:
    from pipeline.training.checkpoint import TrainingFolder
    from pipeline.training.data import TrainingData
    from pipeline.training.loop import LoopOptions, Trainer
    from pipeline.training.selection import Part
    from pipeline.training.world import World

log = logging.getLogger(__name__)

CLASS_WEIGHTS = ("none", "balanced")
NOT_IDENTITY = frozenset(
    {"lake", "tokens", "vocabulary", "table_version", "device", "workers", "resume", "force", "tensorboard"}
    | {"checkpoint_every", "keep_checkpoints", "nproc", "max_restarts"}
)
"""Options that do not change what is trained. What the data is, `TrainingData.identity` says."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of `pipeline train`. `batch_size` is global, in reviews; `max_length` in tokens; `model` holds the options
    of the architecture that differ from its defaults."""

    lake: Lake
    arch: str = "bilstm"
    tokens: Path | None = None
    vocabulary: Path | None = None
    table_version: int | None = None
    model: dict[str, Any] = field(default_factory=dict)
    epochs: int = 5
    batch_size: int = 64
    lr: float = 1e-3
    schedule: str = "constant"
    warmup: int = 0
    clip_norm: float = 1.0
    average: float = 0.0
    patience: int = 0
    class_weights: str = "none"
    embedding_update: str = "auto"
    max_length: int = 400
    valid_fraction: float = 0.1
    seed: int = 0
    lanes: int = DEFAULT_LANES
    window_rows: int = WINDOW_ROWS
    device: str = "auto"
    precision: str = "auto"
    workers: int = 2
    nproc: str = "1"
    max_restarts: int = 3
    checkpoint_every: str = "60s"
    keep_checkpoints: int = 3
    resume: bool = False
    force: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_architecture(self.arch)
        for name, least in (("epochs", 1), ("max_length", 1), ("workers", 0), ("keep_checkpoints", 1), ("max_restarts", 0)):
            _at_least(name, getattr(self, name), least)
        for name in ("warmup", "patience", "clip_norm"):
            _at_least(name, getattr(self, name), 0)
        if not self.lr > 0:
            raise UsageError(f"--lr {self.lr}: expected more than 0.")
        if not 0 < self.valid_fraction < 1:
            raise UsageError(f"--valid-fraction {self.valid_fraction}: expected between 0 and 1, such as 0.1.")
        if not 0 <= self.average < 1:
            raise UsageError(f"--average {self.average}: expected 0 (off) up to, but below, 1, such as 0.999.")
        for name, choices in (
            ("schedule", SCHEDULES), ("class_weights", CLASS_WEIGHTS), ("embedding_update", ("auto", "dense", "sparse")),
            ("device", ("auto", "cpu", "cuda")), ("precision", ("auto", "fp32", "bf16")),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise unknown_choice(f"--{name.replace('_', '-')}", getattr(self, name), choices)
        if self.nproc != "gpu" and not (self.nproc.isdigit() and int(self.nproc) > 0):
            raise UsageError(f"--nproc {self.nproc}: expected a number of processes, or 'gpu' for one on each GPU.")
        if self.tokens is not None and self.table_version is not None:
            raise UsageError("--tokens and --table-version: plain shards have no versions. Give one of the two.")
        _ = self.order

    @property
    def order(self) -> OrderOptions:
        """The options that decide the order of training."""
        return OrderOptions(batch_size=self.batch_size, seed=self.seed, lanes=self.lanes, window_rows=self.window_rows)

    def identity(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that decides what is trained: the options that matter and the data."""
        options = {name: value for name, value in asdict(self).items() if name not in NOT_IDENTITY}
        return {**options, **data}


def run(config: TrainConfig) -> Receipt:
    """Trains, or continues, or finds that the same model is there already (exit code 99).

    Raises:
        InputNotFoundError: no table, shards or vocabulary.
        DataError: nothing to learn from, or damaged data.
        UsageError: options that cannot be, or a training to resume that differs.
        LockedError: another process works on the same training.
        StoppedError: a signal; a checkpoint was written.
    """
    from pipeline.engines import torchrun

    if not torchrun.is_main():
        worker = Run(run_id="", command="train")
        _run(config, worker)
        return worker.receipt()
    with recorded_run("train", config.lake, config) as run:
        _run(config, run)
    return run.receipt()


def start(config: TrainConfig, finish: Callable[[Receipt], None]) -> None:
    """Runs in this process, or starts `nproc` workers that do; `finish` is called on the main one with the receipt."""
    from pipeline.engines import torchrun

    workers = 1 if torchrun.launched() else torchrun.num_workers(config.nproc)
    if workers == 1:
        receipt = run(config)
        if torchrun.is_main():
            finish(receipt)
        return
    lanes_of_rank(0, workers, config.order.num_lanes)
    if (known := check(config)) is not None:
        finish(known)
    torchrun.launch(["train", *arguments(config)], workers, config.max_restarts)


def arguments(config: TrainConfig) -> list[str]:
    """The command line that gives this config, for the workers."""
    found = [f"--lake={config.lake.root}"]
    for name, value in asdict(config).items():
        option = f"--{name.replace('_', '-')}"
        if name in ("lake", "nproc", "max_restarts") or value is None or value is False:
            continue
        if name == "model":
            found += [f"--set={key}={json.dumps(item)}" for key, item in value.items()]
        else:
            found.append(option if value is True else f"{option}={value}")
    return found


def check(config: TrainConfig) -> Receipt | None:
    """What can be known before workers are started: raises what `run` would; the receipt when there is nothing new."""
    data = _open(config)
    run = Run(run_id="", command="train")
    if _is_there(config, config.identity(data.identity), run):
        with recorded_run("train", config.lake, config) as recorded:
            _is_there(config, config.identity(data.identity), recorded)
        return recorded.receipt()
    return None


def _run(config: TrainConfig, run: Run) -> None:
    from pipeline.engines import local, torchrun
    from pipeline.signals import deferred_stop

    data = _open(config)
    identity = config.identity(data.identity)
    if _is_there(config, identity, run):
        return
    join = torchrun.joined if torchrun.launched() else local.joined
    with join(config.device) as world, deferred_stop() as stop:
        resume = config.resume or torchrun.restarts() > 0
        with _training_folder(config, identity, world, resume) as folder:
            trainer, parts = _trainer(config, data, world, folder, stop)
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
    progress = trainer.run()
    trainer.load_best()
    metrics: dict[str, Any] = {
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
        metrics |= {"test_loss": test.loss, "test_accuracy": test.accuracy}
    run.read = sum(part.rows for part in parts.values())
    run.metrics = metrics
    run.outputs = {
        "model": config.lake.models / folder.training_id,
        "model_id": folder.training_id,
        "table_version": data.table_version,
        "vocabulary": data.vocabulary.fingerprint,
    }
    if trainer.world.is_main:
        _save_bundle(config, data, identity, trainer, folder, metrics)
    trainer.world.barrier()


def _save_bundle(
    config: TrainConfig,
    data: "TrainingData",
    identity: dict[str, Any],
    trainer: "Trainer",
    folder: "TrainingFolder",
    metrics: dict[str, Any],
) -> None:
    from pipeline.models.bundle import save_bundle
    from pipeline.training.metrics import write_metrics

    models = make_folder(config.lake.models)
    temporary = models / f"{PREFIX}{folder.training_id}"
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    write_metrics(temporary / "metrics.parquet", trainer.rows())
    save_bundle(
        temporary,
        model=trainer.model,
        arch=config.arch,
        labels=data.vocabulary.labels,
        tokenizer=data.vocabulary.tokenizer,
        max_length=config.max_length,
        vocabulary=data.vocabulary,
        table_version=data.table_version,
        metrics=metrics,
        training=identity,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    # The report is written here, into the temporary folder, so that the bundle appears with it.
    temporary.rename(models / folder.training_id)
    sync_folder(models)
    write_text(config.lake.latest, f"{folder.training_id}\n")
    folder.remove()


def _trainer(
    config: TrainConfig, data: "TrainingData", world: "World", folder: "TrainingFolder", stop: Any
) -> "tuple[Trainer, dict[str, Part]]":
    import torch

    from pipeline.models.registry import build_model
    from pipeline.training.control import Interval
    from pipeline.training.loop import Trainer
    from pipeline.training.metrics import write_metrics
    from pipeline.training.selection import shared_selection

    num_classes = len(data.vocabulary.labels)
    selection, class_counts = shared_selection(world, data.shards, num_classes, config.valid_fraction)
    parts = {name: selection.part(name) for name in ("train", "valid", "test")}
    torch.manual_seed(config.seed)
    model_config = {**config.model, "vocab_size": len(data.vocabulary), "num_classes": num_classes}
    model = build_model(config.arch, model_config, data.vocabulary.tokens.to_pylist())
    trainer = Trainer(
        model, parts["train"], parts["valid"], world, _loop_options(config, world, class_counts),
        num_classes=num_classes, folder=folder, interval=Interval.parse(config.checkpoint_every), stop=stop,
        on_epoch=lambda rows: write_metrics(folder.path / "metrics.parquet", rows),
    )  # fmt: skip
    return trainer, parts


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
    """The folder of the training to continue, or of a new one; the main rank holds its lock."""
    import numpy as np

    from pipeline.training.checkpoint import TrainingFolder, find_resumable

    def choose() -> tuple[dict[str, Any], Any]:
        found = find_resumable(config.lake.checkpoints, identity) if resume else None
        if found is None:
            now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            found = TrainingFolder(config.lake.checkpoints / f"{config.arch}-{now}-{secrets.token_hex(3)}")
            found.begin(identity)
            log.info("training %s starts", found.training_id)
        else:
            log.info("training %s goes on", found.training_id)
        return {"training_id": found.training_id}, np.zeros(0, np.uint8)

    values, _ = world.from_main(choose)
    folder = TrainingFolder(config.lake.checkpoints / values["training_id"], config.keep_checkpoints)
    if not world.is_main:
        yield folder
        return
    with _locked(config.lake, folder.training_id):
        folder.sweep()
        yield folder


@contextmanager
def _locked(lake: Lake, training_id: str) -> Iterator[None]:
    try:
        from pipeline.lake.locks import locked
    except ModuleNotFoundError:
        log.warning("filelock is not installed: nothing keeps a second process off the training %s", training_id)
        yield
        return
    with locked(lake.locks / f"train-{training_id}.lock", f"the training {training_id}"):
        yield


def _open(config: TrainConfig) -> "TrainingData":
    from pipeline.training.data import open_data

    return open_data(config.lake, tokens=config.tokens, table_version=config.table_version, vocabulary=config.vocabulary)


def _is_there(config: TrainConfig, identity: dict[str, Any], run: Run) -> bool:
    """Whether a finished model of the same identity is in the lake; fills in the receipt then."""
    from pipeline.models.bundle import read_bundle

    if config.force:
        return False
    for path in sorted(config.lake.models.glob("*/model.json"), reverse=True):
        if path.parent.name.startswith(PREFIX):
            continue
        try:
            bundle = read_bundle(path.parent)
        except (InputNotFoundError, ValueError) as error:
            log.warning("%s is passed over: %s", path.parent, error)
            continue
        if bundle.training == identity:
            log.info("%s was trained on the same data with the same options; --force trains again", bundle.model_id)
            run.nothing_new = True
            run.outputs = {"model": path.parent, "model_id": bundle.model_id, "table_version": bundle.table_version}
            run.metrics = dict(bundle.metrics)
            return True
    return False


def _at_least(name: str, value: float, least: int) -> None:
    if value < least:
        raise UsageError(f"--{name.replace('_', '-')} {value}: expected {least} or more.")
