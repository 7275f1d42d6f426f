"""What a training starts from, with `--init-from`: another model, which is part of the training's identity by its content.
And who teaches it (`jobs.teacher`).

`LIVE` follows the live model, so which one it was does not make a training another one: a lake whose newest model has
learned the same data with the same options has nothing new to learn, although that model is the live one now.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.teacher import IDENTITY as TEACHER
from jobs.teacher import Teacher, find_teacher
from pipeline.config.train import LIVE, TrainConfig
from pipeline.lake.paths import Lake
from pipeline.models.bundle import LATEST, Bundle, find_bundle, model_ids, read_bundle
from pipeline.tasks.base import Task
from pipeline.training.data import TrainingData

log = logging.getLogger(__name__)

IDENTITY = "init_from"
"""The name of the initial model's content in a training's identity; without one, the identity lacks it."""


@dataclass(frozen=True)
class Initial:
    """`bundle`: where the weights come from, None for random ones. `starts_live`: whichever model is live."""

    bundle: Bundle | None = None
    starts_live: bool = False
    teacher: Teacher = field(default_factory=Teacher)

    @property
    def follows_live(self) -> bool:
        """Whether the training depends on which model is live."""
        return self.starts_live or self.teacher.follows_live

    def identity(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """The identity of a training that starts from here."""
        start = {} if self.bundle is None else {IDENTITY: self.bundle.fingerprint}
        return self.teacher.identity({**identity, **start})

    def key(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """What two trainings have in common that are not to run at the same time: both may follow the live model."""
        return {**identity, **dict.fromkeys(self.ignored, LIVE[0])}

    @property
    def ignored(self) -> frozenset[str]:
        """What may differ in the identity of a training that counts as the same."""
        followed = ((IDENTITY, self.starts_live), (TEACHER, self.teacher.follows_live))
        return frozenset(name for name, follows in followed if follows)


def find_initial(config: TrainConfig, data: TrainingData, task: Task) -> Initial:
    """The models that `--init-from` and `--teacher` name now.

    Raises:
        InputNotFoundError: no such model; a lake without a live one is fine for LIVE.
        DataError: it is damaged.
        UsageError: the teacher cannot teach this training.
    """
    teacher = find_teacher(config, data, task)
    if config.init_from is None:
        return Initial(teacher=teacher)
    if config.init_from not in LIVE:
        return Initial(find_bundle(config.lake, config.init_from), teacher=teacher)
    if not config.lake.latest.exists():
        log.info("--init-from LIVE: no model is live yet, so this training starts from random weights")
        return Initial(starts_live=True, teacher=teacher)
    return Initial(find_bundle(config.lake, LATEST), starts_live=True, teacher=teacher)


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
