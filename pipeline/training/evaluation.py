"""Evaluation: every row counts once, regardless of the number of ranks."""

import torch
from torch import nn

from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.devices import autocast
from pipeline.errors import StoppedError
from pipeline.order.plan import EvaluationPlan
from pipeline.order.selection import Part
from pipeline.progress import track
from pipeline.tasks.base import Objective
from pipeline.tasks.figures import Evaluation
from pipeline.training.control import Control
from pipeline.training.world import World, silent


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    part: Part,
    world: World,
    *,
    task: Objective,
    reader: RowGroupReader,
    batch_size: int,
    loader: LoaderOptions,
    precision: str,
    description: str,
    control: Control | None = None,
) -> Evaluation:
    """The task's figures of a part; each rank evaluates its share, and all get the total.

    `model` is set to eval mode and back.

    Raises:
        StoppedError: any rank received a signal; raised on all of them.
        DataError: damaged shards.
    """
    plan = EvaluationPlan(part.rows_per_group, batch_size, world.rank, world.size)
    meter = task.meter(world.device)
    tokens = 0
    was_training = model.training
    model.eval()
    try:
        with (
            batches(plan, reader, loader) as stream,
            track(description, part.rows // world.size) if world.is_main else silent() as progress,
        ):
            for batch in stream:
                tokens += batch.tokens
                there = batch.to(world.device)
                with autocast(world.device, precision):
                    outputs_BC = model(there.ids, there.lengths).float()
                meter.add(outputs_BC, task.targets(there))
                progress.advance(batch.rows)
                if control is not None and control.request.signal_number:
                    break
    finally:
        model.train(was_training)
    if control is not None and (stop := control.between_epochs().stop):
        raise StoppedError(stop)
    return meter.evaluation(world, tokens)
