"""Small trainings, one after the other, on one rank: notes each step's batch and loss. For tests that compare worlds.

As a script it is one worker of a launcher: rank_worker.py SHARDS JOBS OUT; see `Job` for what the JSON file JOBS holds.
"""

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.config.interval import Interval
from pipeline.engines import torchrun
from pipeline.errors import StoppedError
from pipeline.lake.shards import plain_shards
from pipeline.models.registry import build_model
from pipeline.order.options import OrderOptions
from pipeline.order.selection import shared_selection
from pipeline.signals import StopRequest
from pipeline.tasks.registry import trained_task
from pipeline.training.checkpoint import TrainingFolder
from pipeline.training.loop import LoopOptions, Trainer
from pipeline.training.world import World
from tests.support.small_models import small
from tests.support.tasks import TASKS

Answer = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training: from the newest checkpoint in `checkpoints`, if there is one, to step `stop_after` or to its end."""

    name: str
    arch: str = "lstm"
    epochs: int = 2
    stop_after: int = 0
    checkpoints: str | None = None
    embedding_update: str = "dense"
    task: str = "classification"


def main(shards: str, jobs: str, out: str) -> None:
    """Writes the answers of this rank as OUT/rank-N.json."""
    torch.set_num_threads(1)
    with torchrun.joined("cpu") as world:
        answers = train_each(world, Path(shards), [Job(**job) for job in json.loads(Path(jobs).read_text())])
        (Path(out) / f"rank-{world.rank}.json").write_text(json.dumps(answers))


def write_jobs(path: Path, jobs: Sequence[Job]) -> Path:
    """The file that `main` reads."""
    path.write_text(json.dumps([asdict(job) for job in jobs]))
    return path


def train_each(world: World, shards: Path, jobs: Sequence[Job]) -> dict[str, Answer]:
    """The answers by the jobs' names."""
    return {job.name: train(job, world, shards) for job in jobs}


def train(job: Job, world: World, shards: Path) -> Answer:
    """Trains one architecture, without dropout; gives its steps, validation losses and the bytes that this rank read."""
    selection, summary = shared_selection(world, plain_shards(shards), TASKS[job.task], 0.1)
    task = trained_task(TASKS[job.task], summary, "none")
    torch.manual_seed(0)
    model = build_model(job.arch, {"vocab_size": 200, "num_classes": task.num_outputs, **small(job.arch)})
    stop = StopRequest()
    folder = TrainingFolder(Path(job.checkpoints)) if job.checkpoints else None
    seen: list[dict[str, Any]] = []

    def on_step(epoch: int, step: int, loss: float) -> None:
        seen.append({"epoch": epoch, "step": step, "loss": loss, "rows": trainer.last_rows})
        if job.stop_after and len(seen) == job.stop_after:
            stop.signal_number = 15

    options = LoopOptions(
        epochs=job.epochs, order=OrderOptions(batch_size=32), embedding_update=job.embedding_update, clip_norm=1.0
    )
    trainer = RecordingTrainer(
        model,
        selection.part("train"),
        selection.part("valid"),
        world,
        options,
        task=task,
        folder=folder,
        interval=Interval(),
        stop=stop,
        on_step=on_step,
    )
    if folder is not None and (checkpoint := folder.read()) is not None:
        trainer.restore(checkpoint)
    with contextlib.suppress(StoppedError):
        trainer.run()
    return {
        "steps": seen,
        "bytes": trainer.reader.bytes_read,
        "valid": [row.loss for row in trainer.rows()],
        "figures": [row.figures for row in trainer.rows()],
    }


class RecordingTrainer(Trainer):
    """Notes which reviews a step's batch held."""

    last_rows: list[str]

    def train_step(self, batch: Any) -> torch.Tensor:
        rows = zip(batch.ids, batch.lengths, strict=True)
        self.last_rows = [ids[:length].numpy().tobytes().hex() for ids, length in rows][: batch.rows]
        return super().train_step(batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
    # As the command line ends: taking down the interpreter beside threads of the loader has aborted a rank now and then.
    os._exit(0)
