"""Who teaches a training, with `--teacher`: another model, or the n-gram model that is fitted in the same run.

A teacher reads the same token IDs and answers with the same labels, and it must not have learned from the reviews that the
student is tested on: with a fold, it is a model of the same fold; with a holdout, it held out as much itself.

`LIVE` follows the live model, and never stops a scheduled run: where the live model cannot teach, the n-gram model does.
Which model was live does not make a training another one, so a lake without new reviews has nothing new to learn.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.train import LIVE, NGRAM_TEACHER, TrainConfig
from pipeline.errors import InputNotFoundError, UsageError
from pipeline.lake.paths import Lake
from pipeline.models.bundle import LATEST, Bundle, find_bundle, model_ids, read_bundle, readable_bundles
from pipeline.order.selection import Part, has_labelled
from pipeline.progress import AS_IT_IS
from pipeline.signals import StopRequest
from pipeline.tasks.base import Task
from pipeline.tasks.registry import task_of
from pipeline.training.data import TrainingData

if TYPE_CHECKING:
    from pipeline.training.soft_targets import ModelTeacher

log = logging.getLogger(__name__)

IDENTITY, FOLLOWS = "teacher", "taught_by_live"
"""Names in a training's identity: the teacher's digest, or `nbsvm` where naming it matters; whether it is the live model."""
LOCK_SECONDS = 600.0
"""How long to wait for another run that scores with the same teacher."""


@dataclass(frozen=True)
class Teacher:
    """`bundle`: None for the n-gram model of the run itself. `follows_live`: whichever model is live. `named`: naming it
    makes the training another one."""

    bundle: Bundle | None = None
    follows_live: bool = False
    named: bool = False

    @property
    def model_id(self) -> str:
        """What messages call it."""
        return NGRAM_TEACHER if self.bundle is None else self.bundle.model_id

    def identity(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """The identity of a training with this teacher."""
        if self.bundle is None:
            return {**identity, **({IDENTITY: NGRAM_TEACHER} if self.named else {})}
        return {**identity, IDENTITY: self.bundle.content_key, **({FOLLOWS: True} if self.follows_live else {})}

    def facts(self, config: TrainConfig, data: TrainingData, task: Task, test: Part) -> dict[str, Any]:
        """Who it is, for the record; `same_validation`: whether it was validated on the same reviews as its student. Says
        which figures its knowledge may raise."""
        if self.bundle is None:
            return {"model_id": None, "arch": NGRAM_TEACHER, "same_validation": True}
        same = _same_validation(self.bundle, config, data, task)
        if not same:
            log.info(
                "%s was validated on other reviews, so it may have learned from some of this training's validation rows: "
                "the accuracy on them may be too high",
                self.model_id,
            )
        trained = self.bundle.training
        if test.rows and trained.get("holdout") and not self.bundle.metrics.get("test_rows", 1):
            log.warning(
                "%s was trained when there were too few reviews to hold any out, so it may have learned from the reviews "
                "that this training is tested on: the accuracy on them may be too high",
                self.model_id,
                extra=AS_IT_IS,
            )
        return {"model_id": self.bundle.model_id, "arch": self.bundle.arch, "same_validation": same}


def find_teacher(config: TrainConfig, data: TrainingData, task: Task) -> Teacher:
    """The teacher that `--teacher` names now.

    Raises:
        InputNotFoundError: no such model.
        DataError: it is damaged.
        UsageError: it has another vocabulary or other labels, or has read what its student is tested on.
    """
    name = config.teacher
    own = Teacher(named=name is not None and not config.is_taught_anyway)
    if name in (None, NGRAM_TEACHER):
        return own
    assert name is not None
    if name not in LIVE:
        bundle = _of_fold(config, name) if config.fold else find_bundle(config.lake, name, "--teacher", (NGRAM_TEACHER,))
        if problem := _objection(bundle, config, data, task):
            raise UsageError(f"--teacher {name}: {problem}")
        return Teacher(bundle)
    if not config.lake.latest.exists():
        log.info("--teacher %s: no model is live yet, so nbsvm teaches", name)
        return own
    bundle = find_bundle(config.lake, LATEST)
    if problem := _objection(bundle, config, data, task):
        log.warning("--teacher %s: %s Until then, nbsvm teaches.", name, problem, extra=AS_IT_IS)
        return own
    return Teacher(bundle, follows_live=True)


def recover_teacher(lake: Lake, identity: Mapping[str, Any], teacher: Teacher) -> Teacher | None:
    """The teacher of the training with this identity, since another model may be live by now; None if it is gone."""
    wanted = identity.get(IDENTITY)
    if wanted in (None, NGRAM_TEACHER):
        return Teacher(named=wanted is not None)
    if teacher.bundle is not None and teacher.bundle.content_key == wanted:
        return teacher
    found = next((bundle for bundle in readable_bundles(lake) if bundle.content_key == wanted), None)
    return None if found is None else replace(teacher, bundle=found)


def answers_of(
    teacher: Teacher, task: Task, config: TrainConfig, parts: Mapping[str, Part], learned: Part, stop: StopRequest
) -> "ModelTeacher | None":
    """The answers of a model to the rows that a training needs; those that are not kept yet are computed now. None for the
    n-gram model.

    Raises:
        DataError: a shard or the teacher is damaged.
        LockedError: another run scores with the same teacher for very long.
        StoppedError: a signal came.
    """
    from pipeline.order.selection import UNLABELLED
    from pipeline.scoring.teach import TargetStore
    from pipeline.training.soft_targets import ModelTeacher

    bundle = teacher.bundle
    if bundle is None:
        return None
    store = TargetStore(config.lake, bundle, config.device, stop.raise_if_set)
    soft = learned if config.teacher_weight else parts[UNLABELLED]
    with _locked(config.lake, bundle):
        for part in (soft, parts["valid"]):
            store.complete(part)
    log.info("%s scored %s reviews as a teacher; other targets were kept", bundle.model_id, f"{store.scored:,}")
    return ModelTeacher(store, task, calibrate=not (bundle.blend and bundle.training.get("calibrate", True)))


@contextmanager
def _locked(lake: Lake, bundle: Bundle) -> Iterator[None]:
    """Holds the lock of a teacher's targets, where there are locks: without, two runs might score the same rows."""
    with ExitStack() as held:
        with suppress(ModuleNotFoundError):
            from pipeline.lake.locks import locked

            lock = lake.locks / f"targets-{bundle.content_key}.lock"
            held.enter_context(locked(lock, f"the soft targets of {bundle.model_id}", LOCK_SECONDS))
        yield


def _of_fold(config: TrainConfig, name: str) -> Bundle:
    """The model that a training with a fold held out names: that of its fold in a crossval, or one by ID or path."""
    assert config.fold is not None
    crossval = config.lake.crossval()
    index = config.fold.partition("/")[0]
    inside = crossval.folder / name
    folder = inside if "/" not in name and name not in ("", "..") and inside.is_dir() else Path(name).expanduser()
    if any(folder.glob("fold-*.parquet")):
        models = [path.stem.split("-", 2)[2] for path in folder.glob(f"fold-{index}-*.parquet")]
        if not models:
            raise InputNotFoundError(
                f"--teacher {name}: this cross-validation has no model of fold {index} yet. Run 'pipeline crossval' with "
                "its options again to finish it, or pass another teacher."
            )
        newest = max(models)
        return read_bundle(folder.parent / "models" / newest)
    if name in model_ids(Lake(config.lake.root)):
        return find_bundle(Lake(config.lake.root), name, "--teacher", (NGRAM_TEACHER,))
    return find_bundle(crossval, name, "--teacher", (NGRAM_TEACHER,))


def _objection(bundle: Bundle, config: TrainConfig, data: TrainingData, task: Task) -> str:
    """Why a model cannot teach, and what to do; "" if it can."""
    vocabulary = data.vocabulary
    if (kind := task_of(bundle).kind) is not task.kind:
        return (
            f"{bundle.model_id} has learned --task {kind.name}, and only a model of --task {task.kind.name} can teach this "
            "training. Pass one of these, or --teacher nbsvm."
        )
    if bundle.vocabulary != vocabulary.fingerprint or bundle.labels != vocabulary.labels:
        what = "vocabulary" if bundle.vocabulary != vocabulary.fingerprint else "labels"
        return (
            f"the {what} of {bundle.model_id} and of the table differ, so its answers do not fit. Train a teacher on the "
            "table as it is now ('pipeline train'), or pass --teacher nbsvm."
        )
    trained = bundle.training
    if config.fold is not None:
        if trained.get("fold") == config.fold:
            return ""
        return (
            f"{bundle.model_id} was not trained with --fold {config.fold}, so it may have read the reviews that the fold "
            f"holds out. Pass a model that was trained with --fold {config.fold}, the folder of a crossval with as many "
            "folds, or --teacher nbsvm."
        )
    share = config.holdout_share
    if share and float(trained.get("holdout") or 0.0) < share and not has_labelled(data.shards, "test", task):
        return (
            f"{bundle.model_id} was trained without --holdout {share:g}, so it has read the reviews that this training is "
            f"tested on. Train a teacher with --holdout {share:g}, pass --teacher nbsvm, or test on nothing (--holdout 0)."
        )
    return ""


def _same_validation(bundle: Bundle, config: TrainConfig, data: TrainingData, task: Task) -> bool:
    """Whether the teacher was validated on the same rows; if not, it may have learned from some of them."""
    if has_labelled(data.shards, "valid", task):
        return True
    trained = bundle.training
    same_rows = all(trained.get(name) == data.identity.get(name) for name in ("tokens", "table_version"))
    own = {"valid_fraction": config.valid_fraction, "fold": config.fold}
    same_split = all(trained.get(name) == value for name, value in own.items())
    held_out = float(trained.get("holdout") or 0.0) == (config.holdout_share if _holds_out(config, data, task) else 0.0)
    return same_rows and same_split and held_out


def _holds_out(config: TrainConfig, data: TrainingData, task: Task) -> bool:
    return bool(config.holdout_share) and not has_labelled(data.shards, "test", task)
