"""Pretrains on the text of all reviews and leaves a pretrained model: word vectors, or language models."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import ranks
from jobs.runtime import Run
from jobs.unfinished import Wanted, begun
from pipeline.config.pretrain import PretrainConfig
from pipeline.errors import PipelineError
from pipeline.lake.atomic import PREFIX, claimed, make_folder, sync_file, sync_folder
from pipeline.lake.paths import FoldLake
from pipeline.progress import AS_IT_IS
from pipeline.signals import deferred_stop, raise_if_swallowed, settle
from schemas.run import Receipt

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.pretrained import Pretrained
    from pipeline.order.selection import Answers, Selection
    from pipeline.training.checkpoint import TrainingFolder
    from pipeline.training.data import TrainingData
    from pipeline.training.metrics import MetricsRow
    from pipeline.training.world import World

__all__ = ["PretrainConfig", "pretrained_for", "run", "start"]

log = logging.getLogger(__name__)

MOST_TOKENS = 250_000_000
"""Maximum number of tokens to read for word vectors, which bounds the time."""


@dataclass(frozen=True)
class Learned:
    """What a pretraining made, ready to be written: tensors by name, the options of the model that has them, figures as JSON
    values, and the rows of metrics.parquet, if there are any."""

    weights: "Mapping[str, Tensor]"
    model_config: dict[str, Any]
    metrics: dict[str, Any]
    rows: "Sequence[MetricsRow]" = ()


def start(config: PretrainConfig, finish: Callable[[Receipt], None], command: Sequence[str] = ("pretrain",)) -> None:
    """Runs in this process, or starts `nproc` workers that do; `finish` is called on the main one with the receipt.

    Args:
        command: how the command lines of workers begin; the config follows.
    """
    ranks.start(_placed(config), finish, command, run, _is_finished)


def _is_finished(config: PretrainConfig) -> bool:
    from jobs.language_model import new_model

    data = _open(config)
    if not config.force and find_finished(config, _identity(config, data)) is not None:
        return True
    new_model(config, data)
    return False


def run(config: PretrainConfig) -> Receipt:
    """Pretrains, or continues, or finds that the same pretrained model is there already (exit code 99).

    Raises:
        InputNotFoundError: no table, shards or vocabulary.
        DataError: nothing to learn from, or damaged data.
        UsageError: options that cannot be.
        LockedError: another process works on the same pretraining.
        StoppedError: a signal; a language model's checkpoint was written.
    """
    return ranks.recorded("pretrain", _placed(config), _run)


def pretrained_for(config: PretrainConfig) -> "Pretrained | None":
    """What a pretraining with this config has left, if it is finished."""
    config = _placed(config)
    return find_finished(config, _identity(config, _open(config)))


def find_finished(config: PretrainConfig, identity: Mapping[str, Any]) -> "Pretrained | None":
    """The newest intact pretrained model with the same data and options."""
    from pipeline.models.pretrained import all_pretrained, verify_pretrained
    from pipeline.training.checkpoint import same_training

    def skipped(folder: Path, error: PipelineError) -> None:
        log.warning("skipped %s: %s", folder, error, extra=AS_IT_IS)

    for found in all_pretrained(config.lake, skipped):
        if same_training(found.training, identity):
            try:
                verify_pretrained(found)
            except PipelineError as error:
                skipped(found.folder, error)
                continue
            return found
    return None


def _run(config: PretrainConfig, run: Run) -> None:
    from pipeline.engines import local, torchrun

    join = torchrun.joined if torchrun.launched() else local.joined
    with join(config.device) as world:
        opened = ranks.opened(config, world, partial(_look, config), _Opened.on_other_rank)
        if opened.is_finished:
            _tell_finished(config, opened, run)
            return
        raise_if_swallowed()
        with deferred_stop() as stop:
            resume = config.resume or torchrun.is_restarted(world)
            data, identity = opened.data, opened.identity
            selection = _selection(config, data, identity, world)
            with begun(config.lake, config.keep_checkpoints, world, resume, partial(_wanted, config, identity)) as this:
                folder = this.folder
                made: Learned | None = None
                if not config.is_vectors:
                    from jobs.language_model import train_language_model

                    made = train_language_model(config, data, selection, world, stop, folder, this.resume)
                elif world.is_main:
                    made = _vectors(config, data, selection, stop.raise_if_set)
                if made is not None:
                    found = _save(config, data, identity, folder, made)
                    _tell(run, found, data)
                    folder.remove()
                    settle()
                    run.committed = True
                world.barrier()


@dataclass(frozen=True)
class _Opened:
    """What is pretrained, as the main rank has opened it, for all of them. `found`, a finished one, is its own."""

    data: "TrainingData"
    identity: dict[str, Any]
    is_finished: bool
    found: "Pretrained | None" = None

    def to_json(self) -> dict[str, Any]:
        """What the other ranks need."""
        return {"identity": self.identity, "is_finished": self.is_finished}

    @classmethod
    def on_other_rank(cls, found: dict[str, Any], data: "TrainingData") -> "_Opened":
        """What the main rank has opened."""
        return cls(data, found["identity"], found["is_finished"])


def _look(config: PretrainConfig) -> _Opened:
    data = _open(config)
    identity = _identity(config, data)
    found = None if config.force else find_finished(config, identity)
    if found is None and not config.is_vectors:
        from jobs.language_model import new_model

        new_model(config, data)  # refuses what cannot be a language model before anything begins
    return _Opened(data, identity, found is not None, found)


def _tell_finished(config: PretrainConfig, opened: _Opened, run: Run) -> None:
    """Notes the pretrained model that is there already."""
    from pipeline.training.checkpoint import TrainingFolder

    found = opened.found
    if found is None:
        return
    log.info("%s was pretrained on the same data with the same options; --force does it again", found.pretrained_id)
    _tell(run, found, opened.data)
    run.nothing_new = True
    TrainingFolder(config.lake.checkpoints / found.pretrained_id).remove()  # a kill after its appearance has left it


def _vectors(
    config: PretrainConfig, data: "TrainingData", selection: "Selection", check_stop: Callable[[], None]
) -> Learned:
    import torch

    from pipeline.datapipes.train_loader import LoaderOptions
    from pipeline.training.warm_start import EMBEDDING
    from pipeline.training.word_vectors import text_vectors

    part = selection.part("train")
    started = time.perf_counter()
    vectors_VE = text_vectors(
        part,
        vocab_size=len(data.vocabulary),
        dim=config.of_vectors["embedding_dim"],
        std=config.of_vectors["embedding_std"],
        max_length=config.max_length,
        seed=config.seed,
        loader=LoaderOptions(workers=config.workers),
        window=config.context_window,
        contexts=config.contexts,
        most_tokens=MOST_TOKENS,
        check_stop=check_stop,
    )
    metrics = {"train_rows": part.rows, "train_seconds": round(time.perf_counter() - started, 3)}
    return Learned({EMBEDDING: torch.from_numpy(vectors_VE)}, config.of_vectors, metrics)


def _save(
    config: PretrainConfig,
    data: "TrainingData",
    identity: dict[str, Any],
    folder: "TrainingFolder",
    made: Learned,
) -> "Pretrained":
    """Writes a pretrained model into a temporary folder and renames it to its ID.

    Raises:
        CannotWriteError: no permission, no space.
    """
    from jobs.finished import publish
    from pipeline.models.pretrained import read_pretrained, save_pretrained
    from pipeline.training.metrics import write_metrics

    target = config.lake.pretrained / folder.training_id
    temporary = make_folder(config.lake.pretrained) / f"{PREFIX}{folder.training_id}"
    shutil.rmtree(temporary, ignore_errors=True)
    with claimed(temporary, make_folder):
        if made.rows:
            write_metrics(temporary / "metrics.parquet", made.rows)
        save_pretrained(
            temporary,
            made.weights,
            objective=config.objective,
            arch=None if config.is_vectors else config.arch,
            model_config=made.model_config,
            vocabulary=data.vocabulary.fingerprint,
            table_version=data.table_version,
            fold=config.fold,
            holdout=identity["holdout"],
            metrics=made.metrics,
            training=identity,
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        for path in temporary.iterdir():
            sync_file(path)
        sync_folder(temporary)
        publish(temporary, target)
    config.lake.push("pretrain")
    return read_pretrained(target)


def _tell(run: Run, found: "Pretrained", data: "TrainingData") -> None:
    run.read = int(found.metrics["train_rows"])
    run.metrics = dict(found.metrics) | ({"fold": found.fold} if found.fold else {})
    run.outputs = {
        "pretrained": found.folder,
        "pretrained_id": found.pretrained_id,
        "table_version": data.table_version,
        "vocabulary": data.vocabulary.fingerprint,
    }


def _wanted(config: PretrainConfig, identity: dict[str, Any]) -> Wanted:
    def resumable() -> "TrainingFolder | None":
        from pipeline.training.checkpoint import find_resumable

        found = find_resumable(config.lake.checkpoints, identity)
        if found is not None:
            config.lake.fetch(found.path)
        return found

    return Wanted(
        kind="pretraining",
        name=config.objective if config.is_vectors else f"{config.objective}-{config.arch}",
        identity=identity,
        key=identity,
        is_finished=lambda: not config.force and find_finished(config, identity) is not None,
        resumable=resumable,
    )


def _placed(config: PretrainConfig) -> PretrainConfig:
    """The config with the lake where the result belongs: with a fold held out, beside the models of folds."""
    if config.fold is None or isinstance(config.lake, FoldLake):
        return config
    return replace(config, lake=config.lake.crossval())


def _open(config: PretrainConfig) -> "TrainingData":
    from pipeline.training.data import open_data

    return open_data(config.lake, tokens=config.tokens, table_version=config.table_version, vocabulary=config.vocabulary)


def _identity(config: PretrainConfig, data: "TrainingData") -> dict[str, Any]:
    """Everything that determines the result."""
    from pipeline.order.selection import has_labelled

    has_test = bool(config.holdout_share) and has_labelled(data.shards, "test", _answers(data))
    return config.identity(data.identity, has_test=has_test)


def _selection(config: PretrainConfig, data: "TrainingData", identity: Mapping[str, Any], world: "World") -> "Selection":
    from pipeline.order.folds import Fold
    from pipeline.order.selection import shared_text

    fold = Fold.parse(config.fold) if config.fold else None
    return shared_text(world, data.shards, _answers(data), config.valid_fraction, fold, identity["holdout"])


def _answers(data: "TrainingData") -> "Answers":
    """What tells the reviews that a classifier is tested and validated on; it is not learned here."""
    from pipeline.tasks.classification import Classification

    return Classification(data.vocabulary.labels)
