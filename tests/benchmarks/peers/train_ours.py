"""Our own loop as `pipeline train` runs it: loader, progress, clipping, averages; stopped after a number of steps.

Its options are the settings that the benchmark compares. Under a launcher it is one of several ranks.
"""

import contextlib
import time
from typing import Any

import numpy as np
import torch
from train_common import DEFAULTS, WARM_STEPS, arguments, first_model, parts_of, say

from pipeline.datapipes import train_collate
from pipeline.datapipes.train_loader import LoaderOptions
from pipeline.engines import local, torchrun
from pipeline.errors import StoppedError
from pipeline.order.options import OrderOptions
from pipeline.process import keep_freed_memory
from pipeline.signals import StopRequest
from pipeline.tasks.registry import task_for
from pipeline.training.loop import LoopOptions, Trainer


class Counting(Trainer):
    """Asks to stop after `limit` steps; notes what went by after the first few."""

    limit = 0
    started = seconds = 0.0
    taken = tokens = positions = 0

    def train_step(self, batch: Any) -> torch.Tensor:
        if self.progress.step == WARM_STEPS:
            self.started = time.perf_counter()
        loss_sum = super().train_step(batch)
        if self.progress.step >= WARM_STEPS:
            self.seconds = time.perf_counter() - self.started
            self.taken += 1
            self.tokens += batch.tokens
            self.positions += batch.ids.numel()
        if self.progress.step + 1 >= self.limit:
            self.control.request.signal_number = 15
        return loss_sum


def main() -> None:
    parser = arguments()
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--embedding-update", default="auto")
    parser.add_argument("--workers", type=int, default=DEFAULTS.workers)
    parser.add_argument("--window-rows", type=int, default=DEFAULTS.window_rows)
    parser.add_argument("--pool-steps", type=int, default=DEFAULTS.order.pool_steps)
    parser.add_argument("--length-step", type=int, default=train_collate.LENGTH_STEP)
    parser.add_argument("--free-memory", action="store_true", help="malloc as it is by default")
    options = parser.parse_args()
    train_collate.LENGTH_STEP = options.length_step
    if not options.free_memory:
        keep_freed_memory()
    join = torchrun.joined if torchrun.launched() else local.joined
    with join("cpu") as world:
        data, train, valid = parts_of(options.lake)
        order = OrderOptions(batch_size=DEFAULTS.batch_size, window_rows=options.window_rows, pool_steps=options.pool_steps)
        loop = LoopOptions(
            epochs=1,
            order=order,
            lr=DEFAULTS.lr,
            clip_norm=DEFAULTS.clip_norm,
            average=DEFAULTS.average,
            max_length=DEFAULTS.max_length,
            precision=options.precision,
            embedding_update=options.embedding_update,
            loader=LoaderOptions(workers=options.workers),
        )
        losses: list[float] = []
        model = first_model(data, options.arch, options.hidden, options.dropout)
        trainer = Counting(
            model,
            train,
            valid,
            world,
            loop,
            task=task_for(data.vocabulary),
            stop=StopRequest(),
            on_step=(lambda epoch, step, loss: losses.append(loss)) if options.output else None,
        )
        trainer.limit = options.steps
        with contextlib.suppress(StoppedError):
            trainer.run()
        counts = world.sum(torch.tensor([trainer.tokens, trainer.positions], dtype=torch.float64)).tolist()
        if world.is_main:
            if options.output:
                np.save(options.output, np.array(losses[: options.steps]))
            say(
                loop_seconds=trainer.seconds,
                steps=trainer.taken,
                tokens=counts[0],
                padding=1 - counts[0] / counts[1],
            )


if __name__ == "__main__":
    main()
