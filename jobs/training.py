"""What `pipeline train` does between opening the data and writing the bundle: a network's epochs, the linear model, the
scales, and the figures that people are told."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from jobs.teacher import Teacher, answers_of
from pipeline.config.train import NO_TARGETS, TrainConfig
from pipeline.datapipes.train_loader import LoaderOptions
from pipeline.devices import resolve_precision
from pipeline.models.bundle import Bundle
from pipeline.models.configs.base import ModelConfig, RecurrentConfig
from pipeline.models.interface import Classifier, ReviewClassifier
from pipeline.models.layers.embeddings import load_embeddings
from pipeline.models.layers.linear_classifier import LinearClassifier
from pipeline.models.layers.regions import STD, WEIGHT, Regions
from pipeline.models.pretrained import Pretrained
from pipeline.models.registry import build_model
from pipeline.order.folds import Fold
from pipeline.order.order import num_steps
from pipeline.order.selection import UNLABELLED, Part, select
from pipeline.progress import BRIEF
from pipeline.signals import StopRequest
from pipeline.tasks.base import Task
from pipeline.tasks.kinds import CLASSIFICATION
from pipeline.training.blending import Blended, BlendOptions, FittedNgrams, Reading, blend, fit_beside
from pipeline.training.checkpoint import TrainingFolder
from pipeline.training.data import TrainingData
from pipeline.training.loop import LoopOptions, Trainer
from pipeline.training.metrics import MetricsRow, write_metrics
from pipeline.training.ngram_fit import NgramOptions, default_epochs, fit_ngrams
from pipeline.training.regions import learn_regions
from pipeline.training.regularisation import Regularisation
from pipeline.training.soft_targets import Answers, NgramTeacher, soft_targets
from pipeline.training.tensorboard import event_writer
from pipeline.training.warm_start import Taken, sizes_of, start_from_pretrained, warm_start
from pipeline.training.word_vectors import text_vectors
from pipeline.training.world import World

log = logging.getLogger(__name__)

ALL_UNLABELLED = 1e9
"""More unlabelled reviews for each labelled one than there are."""


@dataclass(frozen=True)
class Training:
    """What is trained, on what, where. `parts`: train, valid, test and unlabelled; `learned`: what a model learns from,
    the first and the last of them; `teacher`: who labels the unlabelled ones."""

    config: TrainConfig
    data: TrainingData
    world: World
    parts: dict[str, Part]
    learned: Part
    task: Task
    stop: StopRequest
    teacher: Teacher = field(default_factory=Teacher)

    @property
    def is_taught(self) -> bool:
        """Whether any row bears a soft target."""
        has_any = self.parts[UNLABELLED].rows or self.config.teacher_weight
        return bool(has_any) and self.config.unlabelled_targets != NO_TARGETS

    @property
    def reading(self) -> Reading:
        """How parts are read for evaluation."""
        config = self.config
        return Reading(
            max_length=max(config.max_length, config.linear_length),
            vocab_size=len(self.data.vocabulary),
            batch_size=config.batch_size * 2,
            device=self.world.device,
            precision=resolve_precision(config.precision, self.world.device),
            loader=self.loader,
            check_stop=self.stop.raise_if_set,
        )

    @property
    def loader(self) -> LoaderOptions:
        """How batches are made ready."""
        return LoaderOptions(workers=self.config.workers, pin_memory=self.world.device.type == "cuda")

    @property
    def ngrams(self) -> NgramOptions:
        """How the linear model is fitted."""
        config = self.config
        return NgramOptions(
            ngrams=config.linear_ngrams,
            bits=config.linear_bits,
            scale=config.linear_scale,
            lr=config.linear_lr,
            batch_size=config.linear_batch_size,
            epochs=config.linear_epochs,
            seed=config.seed,
            # Not pinned: it never leaves the CPU.
            loader=LoaderOptions(workers=config.workers),
        )


@dataclass(frozen=True)
class Trained:
    """A model ready to be written. `metrics` are JSON values; `rows` those of metrics.parquet."""

    model: Classifier
    metrics: dict[str, Any]
    rows: list[MetricsRow]


@dataclass(frozen=True)
class Start:
    """A model before its first step. `taken`: what it took from another model, pretrained or not, if it starts from one.
    Only the main rank makes one: other nodes need not have the files that it starts from."""

    model: ReviewClassifier
    taken: Taken | None = None


def new_model(
    config: TrainConfig, data: TrainingData, task: Task, initial: Bundle | None = None, pretrained: Pretrained | None = None
) -> Start:
    """The model before its first step: a function of the options, the seed, the embeddings and the model to start from.
    Vectors from the reviews themselves come later: they take reading."""
    tokens = data.vocabulary.tokens.to_pylist()
    options = {**config.model, "vocab_size": len(tokens), "num_classes": task.num_outputs}
    if pretrained is not None:
        options = {**sizes_of(pretrained, config.arch), **options}
    vectors_VE = None
    if config.embeddings is not None:
        vectors_VE = load_embeddings(config.embeddings, tokens)
        options.setdefault("embedding_dim", vectors_VE.shape[1])
    torch.manual_seed(config.seed)
    model = build_model(config.arch, options, tokens)
    assert isinstance(model, ReviewClassifier), config.arch
    if vectors_VE is not None:
        model.set_embedding(vectors_VE)
    if pretrained is not None:
        return Start(model, start_from_pretrained(model, config.arch, data.vocabulary, task.outputs, pretrained))
    if initial is None:
        return Start(model, None)
    option = "--init-from" if config.init is None else "--init"
    return Start(model, warm_start(model, config.arch, data.vocabulary, task.outputs, initial, option))


def train_network(training: Training, start: Start | None, folder: TrainingFolder, resume: bool) -> Trained | None:
    """Trains a network and fits what stands around it; None on ranks that are not the main one, which have no `start`."""
    taken = None if start is None else start.taken
    checkpoint = folder.read_on_main(training.world) if resume else None
    model = _model_from_main(training, start, is_new=checkpoint is None)
    taught = _teach(training)
    trainer = _trainer(training, model, folder, taught.targets_UC)
    if checkpoint is not None:
        trainer.restore(checkpoint)
    progress = trainer.run()
    trainer.load_best()
    metrics = _rows(training) | {
        **({} if taken is None else {"init_from": taken.to_dict()}),
        **taught.facts,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "best_epoch_loss": progress.best_loss,
        **{f"best_epoch_{name}": value for name, value in progress.best_figures.items()},
        "steps": progress.epoch * trainer.steps,
        "train_seconds": round(progress.train_seconds, 3),
        "tokens_per_second": round(progress.tokens / max(progress.train_seconds, 1e-9)),
        "wait_share": round(progress.wait_seconds / max(progress.train_seconds, 1e-9), 4),
    }
    started = time.perf_counter()
    blended = _on_main(training, lambda: _surround(training, trainer.model, taught))
    if blended is None:
        return None
    _tell(training, blended)
    metrics |= blended.metrics
    if blended.test is not None:
        trainer.add_test_row(blended.test, time.perf_counter() - started)
    return Trained(blended.model, metrics, trainer.rows())


def train_linear(training: Training) -> Trained | None:
    """Fits the linear model of n-grams, on the main rank; None on others."""
    config = training.config
    started = time.perf_counter()
    lessons: list[Taught] = []

    def fit() -> Blended:
        lessons.append(_teach_here(training))
        return _surround(training, _fit_linear(training, lessons[0].targets_UC))

    blended = _on_main(training, fit)
    if blended is None:
        return None
    _tell(training, blended)
    seconds = round(time.perf_counter() - started, 3)
    rows_of_train = training.learned.rows
    epochs = config.linear_epochs or default_epochs(rows_of_train, config.linear_batch_size)
    rows = [
        MetricsRow(
            epoch=epochs,
            step=epochs * num_steps(rows_of_train, config.linear_batch_size),
            phase=phase,
            loss=found.loss,
            figures=found.figures(),
            seconds=seconds,
            tokens=found.tokens,
        )
        for phase, found in (("valid", blended.valid), ("test", blended.test))
        if found is not None
    ]
    metrics = _rows(training) | lessons[0].facts
    metrics |= {"epochs": epochs, "best_epoch": epochs, "train_seconds": seconds, **blended.metrics}
    return Trained(blended.model, metrics, rows)


def _rows(training: Training) -> dict[str, Any]:
    """The rows of each part, which the figures beside them speak of, and what the task notes about its training."""
    return training.task.facts() | {f"{name}_rows": part.rows for name, part in training.parts.items()}


def _fit_linear(training: Training, soft_targets_UC: torch.Tensor | None) -> Classifier:
    vocab_size, num_outputs = len(training.data.vocabulary), training.task.num_outputs
    linear = fit_ngrams(
        training.learned,
        training.ngrams,
        task=training.task,
        max_length=training.config.linear_length,
        vocab_size=vocab_size,
        soft_targets_UC=soft_targets_UC,
        check_stop=training.stop.raise_if_set,
    )
    sizes = {"vocab_size": vocab_size, "num_classes": num_outputs, "ngrams": linear.ngrams, "bits": linear.bits}
    model = build_model(training.config.arch, sizes)
    assert isinstance(model, LinearClassifier), training.config.arch
    model.linear = linear
    return model


def _surround(training: Training, model: Classifier, taught: "Taught | None" = None) -> Blended:
    config, beside = training.config, None
    if config.is_wide and taught is not None and taught.targets_UC is not None:
        beside = fit_beside(training.learned, training.ngrams, training.task, training.reading, taught.targets_UC)
    options = BlendOptions(
        max_length=config.linear_length if config.is_linear else config.max_length,
        truncation=config.truncation,
        wide=config.is_wide and not config.is_linear,
        baseline=config.baseline and not config.is_linear,
        calibrate=config.calibrate,
        ngrams=training.ngrams,
    )
    fitted = None if taught is None else taught.fitted
    return blend(model, training.parts, training.task, options, training.reading, fitted, beside)


def _model_from_main(training: Training, start: Start | None, *, is_new: bool) -> ReviewClassifier:
    """The main rank's model, on all of them.

    Args:
        is_new: whether it takes its first step now, so what it learns from the reviews themselves comes first.
    """

    def make() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        assert start is not None
        if is_new:
            _prepare(training, start)
        return start.model.config.to_dict(), start.model.state_dict()

    options, weights = training.world.tensors_from_main(make)
    if start is not None:
        return start.model
    model = build_model(training.config.arch, options)
    assert isinstance(model, ReviewClassifier), training.config.arch
    model.load_state_dict(weights)
    return model


def _prepare(training: Training, start: Start) -> None:
    """Gives a new model what it learns from the reviews before its first step, unless it has taken it from elsewhere."""
    config, model, taken = training.config, start.model, start.taken
    has_vectors = config.embeddings is not None or (taken is not None and taken.words > 0)
    if config.embedding_init == "text" and not has_vectors:
        _start_from_text(training, model)
    if model.regions is not None and not (taken is not None and WEIGHT not in taken.left):
        _learn_regions(training, model, model.regions)


def _start_from_text(training: Training, model: ReviewClassifier) -> None:
    """Gives the model word vectors of the reviews that it will learn from."""
    config = model.config
    assert isinstance(config, ModelConfig)
    vectors_VE = text_vectors(
        training.learned,
        vocab_size=config.vocab_size,
        dim=config.embedding_dim,
        std=config.embedding_std,
        max_length=training.reading.max_length,
        seed=training.config.seed,
        loader=LoaderOptions(workers=training.config.workers),
        check_stop=training.stop.raise_if_set,
    )
    model.set_embedding(torch.from_numpy(vectors_VE))


def _learn_regions(training: Training, model: ReviewClassifier, regions: Regions) -> None:
    """Gives the model features of regions, of all text that it may read."""
    config = model.config
    assert isinstance(config, RecurrentConfig)
    found = learn_regions(
        _all_text(training),
        vocab_size=config.vocab_size,
        dim=config.region_dim,
        std=STD,
        max_length=training.reading.max_length,
        seed=training.config.seed,
        loader=LoaderOptions(workers=training.config.workers),
        check_stop=training.stop.raise_if_set,
    )
    regions.set(torch.from_numpy(found.weight), torch.from_numpy(found.bias))


def _all_text(training: Training) -> Part:
    """The training part, and all unlabelled reviews of what is not held out."""
    config = training.config
    fold = Fold.parse(config.fold) if config.fold else None
    selection, _ = select(
        training.data.shards,
        training.task,
        config.valid_fraction,
        fold,
        unlabelled=ALL_UNLABELLED,
        holdout=config.holdout_share,
    )
    return selection.part("train", UNLABELLED)


@dataclass(frozen=True)
class Taught:
    """What a teacher left: the soft targets of the rows that bear some, on all ranks; on the main one also its facts for
    the record, and the linear model if that was the teacher."""

    targets_UC: torch.Tensor | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    fitted: FittedNgrams | None = None


def _teach(training: Training) -> Taught:
    """Lets the teacher label reviews on the main rank, for all of them."""
    if not training.is_taught:
        return Taught()
    made: list[Taught] = []

    def targets() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        made.append(_teach_here(training))
        assert made[0].targets_UC is not None
        return {}, {"targets": made[0].targets_UC}

    _, found = training.world.tensors_from_main(targets)
    return made[0] if made else Taught(found["targets"])


def _teach_here(training: Training) -> Taught:
    if not training.is_taught:
        return Taught()
    config, parts, teacher = training.config, training.parts, training.teacher
    fitted = None
    answers: Answers | None = answers_of(teacher, training.task, config, parts, training.learned, training.stop)
    if answers is None:
        fitted = fit_beside(parts["train"], training.ngrams, training.task, training.reading)
        answers = NgramTeacher(fitted.model, training.task, training.reading)
    found = soft_targets(answers, training.task, parts, training.learned, config.teacher_weight, teacher.model_id)
    facts = {
        **teacher.facts(config, training.data, training.task, parts["test"]),
        "unlabelled_rows": parts[UNLABELLED].rows,
        "labelled_rows": parts["train"].rows if config.teacher_weight else 0,
        "weight": config.teacher_weight,
        **{f"valid_{name}": value for name, value in found.valid.items()},
    }
    return Taught(torch.from_numpy(found.targets_UC), {"teacher": facts}, fitted)


def _on_main(training: Training, make: Callable[[], Blended]) -> Blended | None:
    """Makes it on the main rank, while the others wait and end as it does.

    Raises:
        StoppedError: a signal came, on all ranks.
        PipelineError: whatever `make` raised, on all ranks.
    """
    made: list[Blended] = []

    def attempt() -> tuple[dict[str, Any], Any]:
        made.append(make())
        return {}, np.zeros(0, np.uint8)

    training.world.from_main(attempt)
    return made[0] if made else None


def _tell(training: Training, blended: Blended) -> None:
    """Warns of a model that is not worth its name: one that gives one answer only, or loses to the baseline."""
    task = training.task
    if (doubt := task.doubts(blended.test if blended.test is not None else blended.valid)) is not None:
        log.warning("%s", doubt.message, extra={BRIEF: doubt.brief})
        blended.metrics.update(doubt.facts)
    baseline = blended.metrics.get("baseline")
    if baseline is None:
        return
    part = "test" if blended.test is not None else "valid"
    metric = training.config.selection
    name = metric.replace("-", "_")
    own, other = blended.metrics[f"{part}_{name}"], baseline[f"{part}_{name}"]
    baseline["better"] = task.is_better(metric, other, own)
    arch = task.kind.linear_arch
    option = f"--arch {arch}" if task.kind is CLASSIFICATION else f"--task {task.kind.name} --arch {arch}"
    if baseline["better"]:
        log.warning(
            "%s, fitted in %.0f s, is better on the %s rows: %s %.4f, this model %.4f. Use it (%s)%s.",
            arch,
            baseline["seconds"],
            part,
            metric,
            other,
            own,
            option,
            "" if training.config.is_wide else ", or combine it with this one (--wide)",
            extra={BRIEF: f"{arch}, a linear model of n-grams, is better than this model: use it ({option})"},
        )
    else:
        log.info("%s on the %s rows: this model %.4f, the baseline %s %.4f", metric, part, own, arch, other)


def _trainer(
    training: Training, model: ReviewClassifier, folder: TrainingFolder, soft_targets_UC: torch.Tensor | None
) -> Trainer:
    config, world = training.config, training.world
    return Trainer(
        model,
        training.learned,
        training.parts["valid"],
        world,
        _loop_options(training),
        task=training.task,
        soft_targets_UC=soft_targets_UC,
        folder=folder,
        interval=config.interval,
        stop=training.stop,
        on_epoch=_epoch_writer(config, folder) if world.is_main else None,
    )


def _epoch_writer(config: TrainConfig, folder: TrainingFolder) -> Callable[[list[MetricsRow]], None]:
    events = event_writer(config.lake.runs / "tensorboard" / folder.training_id) if config.tensorboard else None

    def write(rows: list[MetricsRow]) -> None:
        write_metrics(folder.path / "metrics.parquet", rows)
        if events is not None:
            events(rows)

    return write


def _loop_options(training: Training) -> LoopOptions:
    config = training.config
    return LoopOptions(
        epochs=config.epochs_for(num_steps(training.learned.rows, config.batch_size)),
        order=config.order,
        lr=config.lr,
        schedule=config.schedule,
        warmup=config.warmup,
        clip_norm=config.clip_norm,
        patience=config.patience,
        average=config.average,
        max_length=config.max_length,
        truncation=config.truncation,
        read_length=max(config.max_length, config.linear_length),
        select=config.selection,
        regularisation=Regularisation(
            word_dropout=config.word_dropout,
            locked_dropout=config.locked_dropout,
            adversarial=config.adversarial,
            virtual_adversarial=config.virtual_adversarial,
            adversarial_warmup=config.adversarial_warmup,
        ),
        precision=resolve_precision(config.precision, training.world.device),
        embedding_update=config.embedding_update,
        loader=training.loader,
    )
