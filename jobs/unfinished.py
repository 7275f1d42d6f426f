"""The folder of an unfinished training: a new one, or that of the training to continue. The main rank chooses it."""

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.errors import LockedError
from pipeline.lake.atomic import claimed, make_folder
from pipeline.lake.paths import Lake

if TYPE_CHECKING:
    from pipeline.training.checkpoint import TrainingFolder
    from pipeline.training.world import World

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be trained.

    Args:
        kind: what messages call it.
        name: how its ID begins.
        identity: what is trained.
        ignored: names in the identity that may differ in a training that counts as the same.
        key: what trainings have in common that must not run at the same time.
        follows_live: whether it depends on which model is live; then what it began with must not run elsewhere either.
        is_finished: whether another run has just finished it.
        resumable: the folder of the training to continue, if there is one.
    """

    kind: Literal["training", "pretraining"]
    name: str
    identity: dict[str, Any]
    ignored: frozenset[str] = frozenset()
    key: dict[str, Any]
    follows_live: bool = False
    is_finished: Callable[[], bool]
    resumable: Callable[[], "TrainingFolder | None"]


@dataclass(frozen=True)
class Begun:
    """A training that has begun.

    Args:
        identity: the one that it began with, if it follows the live model.
        resume: whether there may be checkpoints.
    """

    folder: "TrainingFolder"
    identity: dict[str, Any]
    resume: bool


@contextmanager
def begun(lake: Lake, keep: int, world: "World", resume: bool, wanted: Callable[[], Wanted]) -> Iterator[Begun]:
    """Begins or continues a training, whose lock the main rank holds for the block.

    When the block ends well, what killed runs have left of the same training goes too.

    Args:
        keep: how many checkpoints stay.
        wanted: called on the main rank alone.

    Raises:
        LockedError: another process works on the same training, or has just finished it.
    """
    from pipeline.training.checkpoint import TrainingFolder, remove_unfinished

    with ExitStack() as held:
        values, _ = world.from_main(lambda: (_choose(lake, resume, wanted(), held), np.zeros(0, np.uint8)))
        folder = TrainingFolder(lake.checkpoints / values["training_id"], keep)
        if world.is_main:
            folder.sweep()
        yield Begun(folder, values["begun"], values["resume"])
        if world.is_main and values["alone"]:
            remove_unfinished(lake.checkpoints, values["begun"])


def _choose(lake: Lake, resume: bool, wanted: Wanted, held: ExitStack) -> dict[str, Any]:
    from pipeline.engines import torchrun
    from pipeline.training.checkpoint import TrainingFolder, was_begun_by

    launch = torchrun.launch_id()
    again = resume or was_begun_by(launch, lake.checkpoints, wanted.identity, wanted.ignored)
    wait = torchrun.lock_seconds(again)
    alone = held.enter_context(training_lock(lake, wanted.key, wait))
    if wanted.is_finished():
        raise LockedError(f"another run just finished the same {wanted.kind}. Run the command again: nothing is left to do.")
    found = wanted.resumable() if again else None
    identity = wanted.identity if found is None else found.identity()
    if wanted.follows_live:
        held.enter_context(training_lock(lake, identity, wait))
    if found is not None:
        try:
            held.enter_context(claimed(found.path))
            log.info("resuming %s %s", wanted.kind, found.training_id)
        except FileNotFoundError:  # vacuum has removed it in this moment
            found, identity = None, wanted.identity
    if found is None:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        found = TrainingFolder(lake.checkpoints / f"{wanted.name}-{now}-{secrets.token_hex(3)}")
        held.enter_context(claimed(found.path, make_folder))
        found.begin(identity, launch)
        log.info("starting %s %s", wanted.kind, found.training_id)
    return {"training_id": found.training_id, "alone": alone, "begun": identity, "resume": again}


@contextmanager
def training_lock(lake: Lake, identity: dict[str, Any], wait_seconds: float = 0.0) -> Iterator[bool]:
    """Holds the lock of what is trained, so that trainings with other options or data may run beside it; False where
    there are no locks."""
    try:
        from pipeline.lake.locks import locked
    except ModuleNotFoundError:
        log.warning("filelock is not installed: a second process could start the same training")
        yield False
        return
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    with locked(lake.locks / f"train-{name}.lock", "the training with these options on this data", wait_seconds):
        yield True
