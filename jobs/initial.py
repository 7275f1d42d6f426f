"""What a training starts from, with `--init`: a pretrained model, or another model, which is part of the training's identity
by its content. And who teaches it (`jobs.teacher`).

`LIVE` follows the live model, so which one it was does not make a training another one: a lake whose newest model has
learned the same data with the same options has nothing new to learn, although that model is the live one now.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jobs.teacher import IDENTITY as TEACHER
from jobs.teacher import Teacher, find_teacher
from pipeline.config.train import LIVE, TrainConfig, may_know_fold
from pipeline.errors import InputNotFoundError, UsageError, unknown_choice
from pipeline.lake.paths import Lake
from pipeline.models.bundle import LATEST, Bundle, find_bundle, model_ids, read_bundle
from pipeline.models.pretrained import LATEST as LATEST_PRETRAINED
from pipeline.models.pretrained import Pretrained, find_pretrained, pretrained_ids
from pipeline.order.selection import has_labelled
from pipeline.tasks.base import Task
from pipeline.training.data import TrainingData

log = logging.getLogger(__name__)

IDENTITY = "init_from"
"""The name of the initial model's content in a training's identity; without one, the identity lacks it."""
IDENTITY_OF_PRETRAINED = "init"
"""The same for a pretrained model."""


@dataclass(frozen=True)
class Initial:
    """`bundle` or `pretrained`: where the weights come from; without either, they are random. `starts_live`: whichever model
    is live."""

    bundle: Bundle | None = None
    starts_live: bool = False
    teacher: Teacher = field(default_factory=Teacher)
    pretrained: Pretrained | None = None

    @property
    def follows_live(self) -> bool:
        """Whether the training depends on which model is live."""
        return self.starts_live or self.teacher.follows_live

    def identity(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """The identity of a training that starts from here."""
        found = dict(identity)
        if self.bundle is not None:
            found[IDENTITY] = self.bundle.fingerprint
        if self.pretrained is not None:
            found[IDENTITY_OF_PRETRAINED] = self.pretrained.fingerprint
        return self.teacher.identity(found)

    def key(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """What two trainings have in common that are not to run at the same time: both may follow the live model."""
        return {**identity, **dict.fromkeys(self.ignored, LIVE[0])}

    @property
    def ignored(self) -> frozenset[str]:
        """What may differ in the identity of a training that counts as the same."""
        followed = ((IDENTITY, self.starts_live), (TEACHER, self.teacher.follows_live))
        return frozenset(name for name, follows in followed if follows)


def find_initial(config: TrainConfig, data: TrainingData, task: Task) -> Initial:
    """What `--init` or `--init-from`, and `--teacher`, name now.

    Raises:
        InputNotFoundError: no such model; a lake without a live one is fine for LIVE.
        DataError: it is damaged.
        UsageError: a model that may know the fold that the training holds out, or a teacher that cannot teach it.
    """
    return replace(find_start(config), teacher=find_teacher(config, data, task))


def find_start(config: TrainConfig) -> Initial:
    """What `--init` or `--init-from` names now, without a teacher. Raises as `find_initial` does."""
    if config.init is not None:
        found = find_pretrained(config.lake, config.init, config.fold)
        if found is not None:
            return Initial(pretrained=found)
        return _find_model(config, config.init)
    if config.init_from is None:
        return Initial()
    if config.init_from not in LIVE:
        return Initial(find_bundle(config.lake, config.init_from, "--init-from"))
    return _live(config)


def _find_model(config: TrainConfig, name: str) -> Initial:
    """The model that `--init` names, where there is no such pretrained model."""
    if name == LATEST_PRETRAINED:
        without = "" if config.fold is None else f" that has not read fold {config.fold}"
        fold = "" if config.fold is None else f" --fold {config.fold}"
        other = ", or pass LIVE to start from the live model" if config.fold is None else ""
        raise InputNotFoundError(
            f"--init LATEST: the lake has no pretrained model{without}. Run 'pipeline pretrain{fold}' first{other}."
        )
    if name != LIVE[0]:
        models = model_ids(config.lake)
        try:
            bundle = find_bundle(config.lake, name)
        except InputNotFoundError:
            known = [LATEST_PRETRAINED, *pretrained_ids(Lake(config.lake.root)), LIVE[0], *models]
            remedy = "A path to a pretrained model or to a bundle's folder also works."
            raise InputNotFoundError(str(unknown_choice("--init", name, known, remedy))) from None
    if config.fold is not None:
        raise may_know_fold("--init", config.fold)
    return _live(config) if name == LIVE[0] else Initial(bundle)


def _live(config: TrainConfig) -> Initial:
    if not config.lake.latest.exists():
        log.info("LIVE: no model is live yet, so this training starts from random weights")
        return Initial(starts_live=True)
    return Initial(find_bundle(config.lake, LATEST), starts_live=True)


def recover_initial(lake: Lake, identity: Mapping[str, Any], initial: Initial) -> Bundle | None:
    """What the training with this identity started from, since another model may be live by now; None for random weights,
    or if the lake no longer has it (see `is_lost`)."""
    wanted = identity.get(IDENTITY)
    if wanted is None:
        return None
    if initial.bundle is not None and initial.bundle.fingerprint == wanted:
        return initial.bundle
    for model_id in model_ids(lake):
        try:
            bundle = read_bundle(lake.models / model_id)
        except ValueError:  # damaged, or removed in this moment
            continue
        if bundle.fingerprint == wanted:
            return bundle
    return None


def is_lost(identity: Mapping[str, Any], recovered: Bundle | None) -> bool:
    """Whether a training started from a model that is gone."""
    return IDENTITY in identity and recovered is None


def check_pretrained(config: TrainConfig, data: TrainingData, task: Task, pretrained: Pretrained) -> None:
    """Refuses a pretrained model that does not know this vocabulary, or that has read what this training is tested on.

    Raises:
        UsageError: says which pretraining would fit.
    """
    name = f"--init {pretrained.pretrained_id}"
    again = f"'pipeline pretrain --objective {pretrained.objective}" + (
        f" --arch {pretrained.arch}" if pretrained.arch else ""
    )
    if pretrained.vocabulary != data.vocabulary.fingerprint:
        raise UsageError(
            f"{name}: it was pretrained with the vocabulary {pretrained.vocabulary}, but the reviews have "
            f"{data.vocabulary.fingerprint}, so token IDs differ. Run {again}' on this lake."
        )
    if config.fold is not None and pretrained.fold != config.fold:
        read = "all folds" if pretrained.fold is None else f"all folds but {pretrained.fold}"
        raise UsageError(
            f"{name} and --fold {config.fold}: it has read the text of {read}, so the accuracy on the fold would be too "
            f"high. Run {again} --fold {config.fold}'; 'pipeline crossval' does so for each fold."
        )
    share = config.holdout_share
    if share > pretrained.holdout and not has_labelled(data.shards, "test", task):
        raise UsageError(
            f"{name}: it has read reviews that this training would hold out as its test part (--holdout {share:g}; it left "
            f"out {pretrained.holdout:g}), so the accuracy on them would be too high. Run {again} --holdout {share:g}', or "
            "pass --holdout 0."
        )
