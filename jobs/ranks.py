"""Trainings on one rank or several, of which the main one decides, records and writes."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from jobs.runtime import Run, recorded_run
from pipeline.config.pretrain import PretrainConfig
from pipeline.config.train import TrainConfig
from pipeline.errors import UsageError
from pipeline.options.render import arguments, identity
from pipeline.order.order import lanes_of_rank
from pipeline.version import __version__
from schemas.run import Receipt

if TYPE_CHECKING:
    from pipeline.training.data import TrainingData
    from pipeline.training.world import World

C = TypeVar("C", TrainConfig, PretrainConfig)


class Opened(Protocol):
    """What is trained."""

    @property
    def data(self) -> "TrainingData":
        """The shards and their vocabulary."""

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to train."""

    def to_json(self) -> dict[str, Any]:
        """What the other ranks need."""


T = TypeVar("T", bound=Opened)


def start(
    config: C,
    finish: Callable[[Receipt], None],
    command: Sequence[str],
    run: Callable[[C], Receipt],
    is_finished: Callable[[C], bool],
) -> None:
    """Runs in this process, or starts `nproc` workers that do; `finish` is called on the main one with the receipt.

    Args:
        command: how the command lines of workers begin; the config follows.
        is_finished: whether there is nothing left to train. It also refuses what can be refused before the launcher starts
            workers, and starts them again when they are refused.
    """
    from pipeline.devices import check_device
    from pipeline.engines import torchrun

    if torchrun.launched():
        receipt = run(config)
        if torchrun.is_main():
            finish(torchrun.receipt_for_launcher(receipt))
        return
    workers = torchrun.num_workers(config.nproc)
    if workers > 1:
        lanes_of_rank(0, workers, config.order.num_lanes)
        check_device(config.device, workers)
        if not is_finished(config):
            torchrun.launch([*command, *arguments(config)], workers, config.max_restarts)
            return
    finish(run(config))


def recorded(command: str, config: C, work: Callable[[C, Run], None]) -> Receipt:
    """Runs `work` as a run of `command` on the main rank, and quietly on the others."""
    from pipeline.engines import torchrun

    if not torchrun.is_main():
        logging.getLogger().setLevel(logging.WARNING)
        worker = Run(run_id="", command=command)
        work(config, worker)
        return worker.receipt()
    with recorded_run(command, config.lake, config) as run:
        work(config, run)
    return run.receipt()


def opened(config: C, world: "World", look: Callable[[], T], receive: Callable[[dict[str, Any], "TrainingData"], T]) -> T:
    """What is trained, on every rank. The main one opens it, so that all ranks train the same, whatever changes in the lake
    meanwhile and whatever their nodes have.

    Args:
        look: opens it.
        receive: makes it from what the main rank says and the data that it has opened.

    Raises:
        Exception: what `look` raises on the main rank, on all of them.
        InputNotFoundError, DataError: another node has other shards.
        UsageError: a rank was started with other options, or has another release.
    """
    from pipeline.engines import torchrun
    from pipeline.training.data import TrainingData

    found: list[T] = []
    told: dict[str, Any] = {}

    def attempt() -> tuple[dict[str, Any], Any]:
        lanes_of_rank(0, world.size, config.order.num_lanes)
        found.append(look())
        if world.size == 1:
            return {}, np.zeros(0, np.uint8)
        data = found[0].data.to_json(config.lake, config.tokens)
        return {"data": data, "opened": found[0].to_json(), "options": decisive(config)}, np.zeros(0, np.uint8)

    def take() -> None:
        if not found:
            check_same(decisive(config), told["options"])
            places = {"tokens": config.tokens, "vocabulary": config.vocabulary}
            found.append(receive(told["opened"], TrainingData.on_other_node(told["data"], config.lake, **places)))
        if not found[0].is_finished and torchrun.is_first_of_node() and not world.is_main:
            found[0].data.check_same(config.tokens)

    told.update(world.from_main(attempt)[0])
    world.on_each(take)
    return found[0]


def decisive(config: TrainConfig | PretrainConfig) -> dict[str, str]:
    """What must be the same on all ranks, by name, as text."""
    options = {f"--{name.replace('_', '-')}": json.dumps(value, default=str) for name, value in identity(config).items()}
    return {"the release of review-pipeline": json.dumps(__version__), **options}


def check_same(mine: dict[str, str], main: dict[str, str]) -> None:
    """Compares what `decisive` gives here and on the main rank.

    Raises:
        UsageError: something differs.
    """
    for name in {**main, **mine}:
        if mine.get(name) != main.get(name):
            raise UsageError(
                f"the nodes do not train the same: {name} is {mine.get(name, 'not known')} on {os.uname().nodename}, and "
                f"{main.get(name, 'not known')} on the node of rank 0. Start the same command, with the same release and "
                "pipeline.toml, on every node."
            )
