"""What a training starts from, with `--init-from`: another model, which is part of the training's identity by its content.

`LIVE` follows the live model, so which one it was does not make a training another one: a lake whose newest model has
learned the same data with the same options has nothing new to learn, although that model is the live one now.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.train import LIVE, TrainConfig
from pipeline.lake.paths import Lake
from pipeline.models.bundle import LATEST, Bundle, find_bundle, model_ids, read_bundle

log = logging.getLogger(__name__)

IDENTITY = "init_from"
"""The name of the initial model's content in a training's identity; without one, the identity lacks it."""


@dataclass(frozen=True)
class Initial:
    """`bundle`: where the weights come from, None for random ones. `follows_live`: whichever model is live."""

    bundle: Bundle | None = None
    follows_live: bool = False

    def identity(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """The identity of a training that starts from here."""
        return {**identity, **({} if self.bundle is None else {IDENTITY: self.bundle.fingerprint})}

    def key(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """What two trainings have in common that are not to run at the same time: both may follow the live model."""
        return {**identity, IDENTITY: LIVE[0]} if self.follows_live else dict(identity)

    @property
    def ignored(self) -> frozenset[str]:
        """What may differ in the identity of a training that counts as the same."""
        return frozenset({IDENTITY}) if self.follows_live else frozenset()


def find_initial(config: TrainConfig) -> Initial:
    """The model that `--init-from` names now.

    Raises:
        InputNotFoundError: no such model; a lake without a live one is fine for LIVE.
        DataError: it is damaged.
    """
    if config.init_from is None:
        return Initial()
    if config.init_from not in LIVE:
        return Initial(find_bundle(config.lake, config.init_from))
    if not config.lake.latest.exists():
        log.info("--init-from LIVE: no model is live yet, so this training starts from random weights")
        return Initial(follows_live=True)
    return Initial(find_bundle(config.lake, LATEST), follows_live=True)


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
