"""What ours and the peers of training share: the parts of a lake, the first weights, ready batches, the timed loop."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from pipeline.config.train import TrainConfig
from pipeline.datapipes.train_collate import Batch
from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.lake.paths import Lake
from pipeline.models.interface import ReviewClassifier
from pipeline.models.registry import build_model
from pipeline.order.order import Order
from pipeline.order.plan import TrainPlan
from pipeline.order.selection import Part, select
from pipeline.tasks.registry import task_for
from pipeline.training.data import TrainingData, open_data

WARM_STEPS = 5
"""Steps before the clock starts; oneDNN compiles its kernels in them."""
DEFAULTS = TrainConfig(lake=Lake.find("."))
"""The options of `pipeline train` that nobody gave."""


def arguments() -> argparse.ArgumentParser:
    """--lake, --output (the losses of all steps), --steps, --arch, --hidden, --double (all in float64)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--arch", default="bilstm")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--double", action="store_true")
    return parser


def parts_of(lake: Path, valid_fraction: float = DEFAULTS.valid_fraction) -> tuple[TrainingData, Part, Part]:
    """The lake's data, with the same training and validation parts as `pipeline train`: whole films."""
    data = open_data(Lake.find(str(lake)))
    selection, _ = select(data.shards, task_for(data.vocabulary), valid_fraction)
    return data, selection.part("train"), selection.part("valid")


def first_model(data: TrainingData, arch: str, hidden: int, dropout: float | None = 0.0) -> ReviewClassifier:
    """The model before its first step, a function of the seed; dropout off by default, so that losses can be compared."""
    torch.manual_seed(0)
    values = {"vocab_size": len(data.vocabulary), "num_classes": len(data.vocabulary.labels), "hidden_dim": hidden}
    if dropout is not None:
        values |= {"dropout": dropout, "embedding_dropout": dropout}
    return build_model(arch, values, data.vocabulary.tokens.to_pylist())


def ready_batches(part: Part, steps: int) -> list[Batch]:
    """The first batches of the first epoch, in memory."""
    plan = TrainPlan(Order(part.rows_per_group, DEFAULTS.order, 0))
    with batches(plan, RowGroupReader(part, DEFAULTS.max_length), LoaderOptions()) as stream:
        return list(islice(stream, steps))


def stepper(model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[Batch], Tensor]:
    """A plain training step: forward, backward, clipping, update; gives the loss."""

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(batch.ids, batch.lengths), batch.targets)
        loss.backward()
        clip_grad_norm_(model.parameters(), DEFAULTS.clip_norm)
        optimizer.step()
        return loss

    return step


def run(step: Callable[[Batch], Tensor], ready: Iterable[Batch], output: Path) -> None:
    """Runs every batch, writes the losses (mean over the batch) and prints what the harness reads."""
    losses, tokens, started = [], 0, 0.0
    for number, batch in enumerate(ready):
        if number == WARM_STEPS:
            started, tokens = time.perf_counter(), 0
        losses.append(float(step(batch).detach()))
        tokens += batch.tokens
    say(loop_seconds=time.perf_counter() - started, steps=len(losses) - WARM_STEPS, tokens=tokens)
    np.save(output, np.array(losses))


def say(**figures: float) -> None:
    """The JSON line that the harness reads."""
    sys.stdout.write(json.dumps(figures) + "\n")
