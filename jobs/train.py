"""Trains a classifier on the token shards and leaves a model bundle. One process, or one of several under a launcher."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs import ranks
from jobs.runtime import Run
from jobs.unfinished import Wanted, begun
from pipeline.config.train import REGION_DIM, TrainConfig
from pipeline.lake.paths import FoldLake
from pipeline.progress import AS_IT_IS
from pipeline.signals import StopRequest, deferred_stop, raise_if_swallowed, settle
from schemas.run import Receipt

if TYPE_CHECKING:
    from jobs.initial import Initial
    from jobs.teacher import Teacher
    from jobs.training import Start, Trained, Training
    from pipeline.models.bundle import Bundle
    from pipeline.tasks.base import Task
    from pipeline.training.checkpoint import TrainingFolder
    from pipeline.training.data import TrainingData
    from pipeline.training.world import World

__all__ = ["TrainConfig", "run", "start"]

log = logging.getLogger(__name__)


def start(config: TrainConfig, finish: Callable[[Receipt], None], command: Sequence[str] = ("train",)) -> None:
    """Runs in this process, or starts `nproc` workers that do; `finish` is called on the main one with the receipt.

    Args:
        command: how the command lines of workers begin; the config follows.
    """
    ranks.start(_placed(config), finish, command, run, _is_finished)


def _is_finished(config: TrainConfig) -> bool:
    from jobs.initial import find_initial

    data = _open(config)
    task = _task(config, data)
    initial = find_initial(config, data, task)
    config = _with_regions(config, data, initial)
    if _finished(config, _identity(config, data, task, initial), initial.ignored) is not None:
        return True
    if not config.is_linear:
        _new_start(config, data, task, initial)
    return False


def run(config: TrainConfig) -> Receipt:
    """Trains, or continues, or finds that the same model is there already (exit code 99).

    Raises:
        InputNotFoundError: no table, shards, vocabulary, embeddings or model to start from.
        DataError: nothing to learn from, or damaged data.
        UsageError: options that cannot be.
        LockedError: another process works on the same training.
        StoppedError: a signal; a checkpoint was written.
    """
    return ranks.recorded("train", _placed(config), _run)


@dataclass(frozen=True)
class _Opened:
    """What is trained. Only the main rank opens it and decides, so that all ranks train the same, whatever changes in the
    lake meanwhile and whatever their nodes have. `initial`, `start`, `bundle`, a finished model, and `completed`, the ID of
    a model that went live now, are its own."""

    config: TrainConfig
    data: "TrainingData"
    task: "Task"
    identity: dict[str, Any]
    is_finished: bool
    initial: "Initial | None" = None
    start: "Start | None" = None
    bundle: "Bundle | None" = None
    completed: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What the other ranks need."""
        config = self.config
        return {
            "model": dict(config.model),
            "column": self.task.column,
            "identity": self.identity,
            "is_finished": self.is_finished,
        }

    @classmethod
    def on_other_rank(cls, config: TrainConfig, found: dict[str, Any], data: "TrainingData") -> "_Opened":
        """What the main rank has opened."""
        from pipeline.tasks.registry import task_for

        task = task_for(data.vocabulary, kind=config.kind, column=found["column"])
        return cls(replace(config, model=found["model"]), data, task, found["identity"], found["is_finished"])


def _run(config: TrainConfig, run: Run) -> None:
    from jobs.training import train_linear, train_network
    from pipeline.engines import local, torchrun

    join = torchrun.joined if torchrun.launched() else local.joined
    with join(config.device) as world:
        opened = ranks.opened(config, world, partial(_look, config), partial(_Opened.on_other_rank, config))
        if opened.is_finished:
            _tell_finished(opened, run)
            return
        raise_if_swallowed()
        with deferred_stop() as stop:
            resume = config.resume or torchrun.is_restarted(world)
            with begun(config.lake, config.keep_checkpoints, world, resume, partial(_wanted, opened)) as this:
                opened, teacher = _as_begun(opened, this.identity)
                training = _training(opened.config, opened.data, opened.task, world, stop, teacher)
                if config.is_linear:
                    trained = train_linear(training)
                else:
                    trained = train_network(training, opened.start, this.folder, this.resume)
                _leave(opened, training, trained, this.folder, run)
                world.barrier()


def _look(config: TrainConfig) -> _Opened:
    from jobs.initial import find_initial
    from jobs.promotion import complete_promotion

    data = _open(config)
    task = _task(config, data)
    initial = find_initial(config, data, task)
    config = _with_regions(config, data, initial)
    identity = _identity(config, data, task, initial)
    completed = complete_promotion(config.lake)
    if identity.get("holdout") and initial.bundle is not None and not initial.bundle.training.get("holdout"):
        log.warning(
            "%s, which this training starts from, was trained without --holdout, so it knows the reviews that are held out "
            "now, and the accuracy on them will be too high",
            initial.bundle.model_id,
            extra=AS_IT_IS,
        )
    bundle = _finished(config, identity, initial.ignored)
    start = None if config.is_linear or bundle is not None else _new_start(config, data, task, initial)
    return _Opened(config, data, task, identity, bundle is not None, initial, start, bundle, completed)


def _tell_finished(opened: _Opened, run: Run) -> None:
    """Notes the model that is there already, and does what a kill has cut off."""
    from jobs.finished import finish_late

    bundle = opened.bundle
    if bundle is None:
        return
    log.info("%s was trained on the same data with the same options; --force trains again", bundle.model_id)
    run.outputs = {"model": bundle.folder, "model_id": bundle.model_id, "table_version": bundle.table_version}
    run.metrics = dict(bundle.metrics)
    late = finish_late(opened.config, opened.data, bundle, run)
    run.nothing_new = not late and opened.completed != bundle.model_id


def _as_begun(opened: _Opened, begun: dict[str, Any]) -> "tuple[_Opened, Teacher]":
    """What is trained, as the training that is continued began it: another model may be live by now."""
    from jobs.initial import recover_initial
    from jobs.teacher import Teacher, recover_teacher
    from jobs.training import new_model

    config, initial, start = opened.config, opened.initial, opened.start
    if initial is None:
        return replace(opened, identity=begun), Teacher()
    if start is not None and begun != opened.identity:
        start = new_model(config, opened.data, opened.task, recover_initial(config.lake, begun, initial))
    teacher = recover_teacher(config.lake, begun, initial.teacher) or initial.teacher
    return replace(opened, identity=begun if start is not None else opened.identity, start=start), teacher


def _leave(opened: _Opened, training: "Training", trained: "Trained | None", folder: "TrainingFolder", run: Run) -> None:
    """Writes the model, on the main rank, and notes it."""
    from jobs.finished import finish_training, save_model
    from pipeline.order.selection import PARTS

    config, data = opened.config, opened.data
    run.read = sum(part.rows for part in training.parts.values())
    run.outputs = {
        "model": config.lake.models / folder.training_id,
        "model_id": folder.training_id,
        "table_version": data.table_version,
        "vocabulary": data.vocabulary.fingerprint,
        "report": config.lake.models / folder.training_id / "report.html",
    }
    if trained is None:
        return
    run.metrics = dict(trained.metrics)
    labelled = {name: part for name, part in training.parts.items() if name in PARTS}
    save_model(config, data, training.task, opened.identity, trained, folder, labelled)
    finish_training(config, data, folder, labelled["test"], run)
    settle()
    run.committed = True


def _new_start(config: TrainConfig, data: "TrainingData", task: "Task", initial: "Initial") -> "Start":
    from jobs.initial import check_pretrained
    from jobs.training import new_model

    if initial.pretrained is not None:
        check_pretrained(config, data, task, initial.pretrained)
    return new_model(config, data, task, initial.bundle, initial.pretrained)


def _training(
    config: TrainConfig, data: "TrainingData", task: "Task", world: "World", stop: StopRequest, teacher: "Teacher"
) -> "Training":
    from jobs.training import Training
    from pipeline.order.folds import Fold
    from pipeline.order.selection import PARTS, UNLABELLED, shared_selection
    from pipeline.tasks.registry import trained_task

    fold = Fold.parse(config.fold) if config.fold else None
    selection, summary = shared_selection(
        world,
        data.shards,
        task,
        config.valid_fraction,
        fold,
        unlabelled=config.unlabelled_ratio,
        holdout=config.holdout_share,
        at_least=config.unlabelled_at_least,
    )
    parts = {name: selection.part(name) for name in (*PARTS, UNLABELLED)}
    learned = selection.part("train", UNLABELLED) if parts[UNLABELLED].rows else parts["train"]
    if config.teacher is not None and not parts[UNLABELLED].rows and not config.teacher_weight:
        log.warning(
            "--teacher %s: there are no unlabelled reviews, so it has nothing to label", config.teacher, extra=AS_IT_IS
        )
    if config.teacher_weight:
        learned = learned.all_soft()
    task = trained_task(task, summary, config.class_weights)
    return Training(config, data, world, parts, learned, task, stop, teacher)


def _placed(config: TrainConfig) -> TrainConfig:
    """The config with the lake where the model belongs: one with a fold held out never goes live."""
    if config.fold is None or isinstance(config.lake, FoldLake):
        return config
    return replace(config, lake=config.lake.crossval())


def _wanted(opened: _Opened) -> Wanted:
    config, identity, initial = opened.config, opened.identity, opened.initial
    assert initial is not None
    return Wanted(
        kind="training",
        name=config.arch,
        identity=identity,
        ignored=initial.ignored,
        key=initial.key(identity),
        follows_live=initial.follows_live,
        is_finished=lambda: _finished(config, identity, initial.ignored) is not None,
        resumable=lambda: _resumable(config, identity, initial),
    )


def _resumable(config: TrainConfig, identity: dict[str, Any], initial: "Initial") -> "TrainingFolder | None":
    """The unfinished training to continue. Without an intact checkpoint it begins again, from the same model."""
    from jobs.initial import is_lost, recover_initial
    from jobs.teacher import recover_teacher
    from pipeline.training.checkpoint import find_resumable

    found = find_resumable(config.lake.checkpoints, identity, ignored=initial.ignored)
    if found is None:
        return None
    config.lake.fetch(found.path)
    begun = found.identity()
    if recover_teacher(config.lake, begun, initial.teacher) is None:
        log.warning("--resume: the model that taught %s is gone. Starting a new one.", found.training_id)
        return None
    if not is_lost(begun, recover_initial(config.lake, begun, initial)) or found.read() is not None:
        return found
    log.warning(
        "--resume: %s has no intact checkpoint, and the model that it started from is gone. Starting a new one.",
        found.training_id,
    )
    return None


def _open(config: TrainConfig) -> "TrainingData":
    from pipeline.training.data import open_data

    return open_data(config.lake, tokens=config.tokens, table_version=config.table_version, vocabulary=config.vocabulary)


def _task(config: TrainConfig, data: "TrainingData") -> "Task":
    """What is learned, before the training part is known."""
    from pipeline.tasks.registry import task_for

    return task_for(data.vocabulary, data.shards, config.kind, config.target)


def finished_model(config: TrainConfig) -> "Bundle | None":
    """The model that a training with this config has left, if it is finished."""
    from jobs.finished import find_finished
    from jobs.initial import find_initial

    config = _placed(config)
    data = _open(config)
    task = _task(config, data)
    initial = find_initial(config, data, task)
    config = _with_regions(config, data, initial)
    return find_finished(config.lake, _identity(config, data, task, initial), initial.ignored)


def _with_regions(config: TrainConfig, data: "TrainingData", initial: "Initial") -> TrainConfig:
    """The config with as many region features as the reviews deserve, if nobody has chosen. The layers of a pretrained
    language model read embeddings alone."""
    from pipeline.order.selection import LEARNED_SPLITS

    dim = config.region_dim_for(sum(shard.rows for shard in data.shards if shard.split in LEARNED_SPLITS))
    if dim is None or (initial.pretrained is not None and initial.pretrained.arch is not None):
        return config
    return replace(config, model={**config.model, REGION_DIM: dim})


def _identity(config: TrainConfig, data: "TrainingData", task: "Task", initial: "Initial") -> dict[str, Any]:
    """Everything that determines the model."""
    from pipeline.order.selection import has_labelled

    has_test = bool(config.holdout_share) and has_labelled(data.shards, "test", task)
    return initial.identity(config.identity({**data.identity, **task.identity()}, has_test=has_test))


def _finished(config: TrainConfig, identity: dict[str, Any], ignored: frozenset[str]) -> Any:
    from jobs.finished import find_finished

    return None if config.force else find_finished(config.lake, identity, ignored)
