"""What `pipeline pretrain --objective lm` does between opening the data and writing the pretrained model."""

import logging

import torch

from jobs.pretrain import Learned
from pipeline.config.pretrain import WITHOUT_DROPOUT, PretrainConfig
from pipeline.datapipes.train_loader import LoaderOptions
from pipeline.devices import resolve_precision
from pipeline.models.interface import ReviewClassifier
from pipeline.models.language_model import LanguageModel
from pipeline.models.registry import build_model
from pipeline.order.selection import Selection
from pipeline.signals import StopRequest
from pipeline.tasks.language_model import LanguageModelling, perplexity
from pipeline.training.checkpoint import TrainingFolder
from pipeline.training.data import TrainingData
from pipeline.training.loop import LoopOptions, Trainer
from pipeline.training.metrics import write_metrics
from pipeline.training.world import World

log = logging.getLogger(__name__)


def new_model(config: PretrainConfig, data: TrainingData) -> LanguageModel:
    """The model before its first step: a function of the options and the seed, so the same on every rank.

    Raises:
        UsageError: an architecture that cannot be a language model.
    """
    tokens = data.vocabulary.tokens.to_pylist()
    torch.manual_seed(config.seed)
    body = build_model(config.arch, {**WITHOUT_DROPOUT, **config.model, "vocab_size": len(tokens), "num_classes": 1}, tokens)
    assert isinstance(body, ReviewClassifier), config.arch
    return LanguageModel(body, config.arch)


def train_language_model(
    config: PretrainConfig,
    data: TrainingData,
    selection: Selection,
    world: World,
    stop: StopRequest,
    folder: TrainingFolder,
    resume: bool,
) -> Learned | None:
    """What was learned; None on ranks that are not the main one.

    Raises:
        StoppedError: a signal; a checkpoint was written.
        DataError: damaged data, or a loss that is not finite.
        UsageError: an architecture that cannot be a language model.
    """
    model = new_model(config, data)
    train, valid = selection.part("train"), selection.part("valid")
    trainer = Trainer(
        model,
        train,
        valid,
        world,
        LoopOptions(
            epochs=config.epochs,
            order=config.order,
            lr=config.lr,
            schedule=config.schedule,
            warmup=config.warmup,
            clip_norm=config.clip_norm,
            max_length=config.max_length,
            precision=resolve_precision(config.precision, world.device),
            loader=LoaderOptions(workers=config.workers, pin_memory=world.device.type == "cuda"),
        ),
        task=LanguageModelling(model.num_directions, config.max_length),
        folder=folder,
        interval=config.interval,
        stop=stop,
        on_epoch=lambda rows: write_metrics(folder.path / "metrics.parquet", rows),
    )
    if resume and (checkpoint := folder.read_on_main(world)) is not None:
        trainer.restore(checkpoint)
    progress = trainer.run()
    trainer.load_best()
    if not world.is_main:
        return None
    seconds = max(progress.train_seconds, 1e-9)
    metrics = {
        "train_rows": train.rows,
        "valid_rows": valid.rows,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "steps": progress.epoch * trainer.steps,
        "valid_loss": progress.best_loss,
        "valid_perplexity": perplexity(progress.best_loss),
        "train_seconds": round(progress.train_seconds, 3),
        "tokens_per_second": round(progress.tokens / seconds),
        "wait_share": round(progress.wait_seconds / seconds, 4),
    }
    return Learned(model.weights(), model.config.to_dict(), metrics, trainer.rows())
