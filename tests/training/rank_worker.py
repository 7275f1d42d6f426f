"""One rank of small trainings, one for each architecture, started by a launcher: writes their steps' batches and losses.

python -m torch.distributed.run --nproc-per-node 2 rank_worker.py SHARDS OUT [--arch NAME …] [--stop-after STEPS]
"""

import argparse
import contextlib
import json
import os
from pathlib import Path
from typing import Any

import torch

from pipeline.config.interval import Interval
from pipeline.engines import local, torchrun
from pipeline.errors import StoppedError
from pipeline.lake.shards import plain_shards
from pipeline.models.registry import build_model
from pipeline.order.options import OrderOptions
from pipeline.order.selection import Selection, shared_selection
from pipeline.signals import StopRequest
from pipeline.training.checkpoint import TrainingFolder
from pipeline.training.loop import LoopOptions, Trainer
from pipeline.training.world import World
from tests.support.small_models import small


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("shards", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--arch", nargs="*", default=["lstm"])
    parser.add_argument("--checkpoints", type=Path)
    parser.add_argument("--stop-after", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--embedding-update", default="dense")
    given = parser.parse_args()
    torch.set_num_threads(1)
    join = torchrun.joined if torchrun.launched() else local.joined
    with join("cpu") as world:
        selection, _ = shared_selection(world, plain_shards(given.shards), 2, 0.1)
        answers = {arch: train(arch, world, selection, given) for arch in given.arch}
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / f"rank-{world.rank}.json").write_text(json.dumps(answers))


def train(arch: str, world: World, selection: Selection, given: argparse.Namespace) -> dict[str, Any]:
    """Trains one architecture, without dropout; gives its steps, validation losses and the bytes that this rank read."""
    torch.manual_seed(0)
    model = build_model(arch, {"vocab_size": 200, "num_classes": 2, **small(arch)})
    stop = StopRequest()
    folder = TrainingFolder(given.checkpoints) if given.checkpoints else None
    seen: list[dict[str, Any]] = []

    def on_step(epoch: int, step: int, loss: float) -> None:
        seen.append({"epoch": epoch, "step": step, "loss": loss, "rows": trainer.last_rows})
        if given.stop_after and len(seen) == given.stop_after:
            stop.signal_number = 15

    options = LoopOptions(
        epochs=given.epochs, order=OrderOptions(batch_size=32), embedding_update=given.embedding_update, clip_norm=1.0
    )
    trainer = RecordingTrainer(
        model, selection.part("train"), selection.part("valid"), world, options,
        num_classes=2, folder=folder, interval=Interval(), stop=stop, on_step=on_step,
    )  # fmt: skip
    if folder is not None and (checkpoint := folder.read()) is not None:
        trainer.restore(checkpoint)
    with contextlib.suppress(StoppedError):
        trainer.run()
    return {"steps": seen, "bytes": trainer.reader.bytes_read, "valid": [row.loss for row in trainer.rows()]}


class RecordingTrainer(Trainer):
    """Notes which reviews a step's batch held."""

    last_rows: list[str]

    def _step(self, batch: Any) -> torch.Tensor:
        rows = zip(batch.ids, batch.lengths, strict=True)
        self.last_rows = [ids[:length].numpy().tobytes().hex() for ids, length in rows][: batch.rows]
        return super()._step(batch)


if __name__ == "__main__":
    main()
    # As the command line ends: taking down the interpreter beside threads of the loader has aborted a rank now and then.
    os._exit(0)
