"""What each part of a training step costs: steps of the whole and of a training without the part, in turn on each batch.

The cost of a part is the median over the batches of what the step without it saves. One process, batches ready in memory.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.datapipes.train_collate import Batch
from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.engines import local
from pipeline.models.layers import recurrent
from pipeline.models.registry import build_model
from pipeline.order.options import OrderOptions
from pipeline.order.plan import TrainPlan
from pipeline.progress import track
from pipeline.training.loop import LoopOptions, Trainer
from tests.benchmarks.harness import machine

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from train_common import DEFAULTS, WARM_STEPS, first_model, parts_of

from tests.support.tasks import TWO_LABELS

DEFAULT_DROPOUT = 0.5


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A training that lacks a part; `patch` takes it away while a step runs."""

    name: str
    options: dict[str, Any]
    model: dict[str, Any]
    patch: Callable[[Trainer], Any] | None = None


def variants() -> list[Variant]:
    """The whole first."""
    whole = Variant(name="the whole", options={}, model={})
    return [
        whole,
        replace(whole, name="reading rows backwards", patch=lambda trainer: _put(recurrent, "reverse", lambda v, place: v)),
        replace(whole, name="pooling: largest and mean state, masked", model={"pooling": "last"}),
        replace(whole, name="dropout", model={"embedding_dropout": 0.0, "dropout": 0.0}),
        replace(whole, name="embedding: gradient and update, dense", patch=_frozen_embedding),
        replace(whole, name="the same by row instead: saved", options={"embedding_update": "sparse"}),
        replace(whole, name="optimizer", patch=lambda trainer: _put(trainer.optimizer, "step", lambda factor: None)),
        replace(whole, name="clipping", options={"clip_norm": 0.0}),
        replace(whole, name="averaged weights", options={"average": 0.0}),
        replace(whole, name="sums of loss and right answers", patch=lambda trainer: _put(trainer.sums, "add", _nothing)),
    ]


def tables(lake: Path, arch: str, hidden: int, given: argparse.Namespace) -> str:
    """The table, in Markdown."""
    with local.joined("cpu") as world:
        data, train, valid = parts_of(lake)
        loop = LoopOptions(
            epochs=1, order=DEFAULTS.order, lr=DEFAULTS.lr, clip_norm=DEFAULTS.clip_norm, average=DEFAULTS.average
        )

        def trainer(variant: Variant) -> Trainer:
            config = first_model(data, arch, hidden, DEFAULT_DROPOUT).config.to_dict() | variant.model
            model = build_model(arch, config, data.vocabulary.tokens.to_pylist())
            return Trainer(model, train, valid, world, replace(loop, **variant.options), task=TWO_LABELS)

        choices = variants()
        trainers = [trainer(variant) for variant in choices]
        ready = _ready(trainers[0], DEFAULTS.order, given.steps)
        seconds = _step_seconds(choices, trainers, ready)
        rows = [
            (variant.name, statistics.median(full - without for full, without in zip(seconds[0], own, strict=True)))
            for variant, own in zip(choices[1:], seconds[1:], strict=True)
        ]
        rows += _around(trainers[0], given.steps)
        rows.append(("short reviews beside long ones, were it not for sorting", _unsorted(trainers[0], ready, seconds[0])))
    step = statistics.median(seconds[0])
    lines = [
        f"{arch} {hidden}, {len(ready) - WARM_STEPS} batches, a step takes {step * 1e3:.1f} ms, {machine()}",
        "",
        "| part of a step | ms | share |",
        "|---|---:|---:|",
    ]
    lines += [f"| {name} | {cost * 1e3:.2f} | {cost / step:.1%} |" for name, cost in rows]
    return "\n".join(lines)


def _step_seconds(choices: list[Variant], trainers: list[Trainer], ready: list[Batch]) -> list[list[float]]:
    found: list[list[float]] = [[] for _ in choices]
    for number, batch in enumerate(ready):
        for place, (variant, trainer) in enumerate(zip(choices, trainers, strict=True)):
            trainer.model.train()
            with variant.patch(trainer) if variant.patch else _unchanged():
                started = time.perf_counter()
                trainer.train_step(batch)
                taken = time.perf_counter() - started
            if number >= WARM_STEPS:
                found[place].append(taken)
    return found


def _around(trainer: Trainer, steps: int) -> list[tuple[str, float]]:
    """What is done around a step: making batches ready (in other threads, while a step runs), and showing progress."""
    plan = TrainPlan(trainer.order(0))
    started = time.perf_counter()
    with batches(plan, trainer.reader, LoaderOptions(workers=0)) as stream:
        count = sum(1 for _ in stream)
    loading = (time.perf_counter() - started) / count
    with track("train", steps, "steps") as bar:
        started = time.perf_counter()
        for _ in range(steps):
            bar.advance(1, **trainer.figures())
        showing = (time.perf_counter() - started) / steps
    return [("reading and padding a batch, in threads beside the step", loading), ("progress and its figures", showing)]


def _unsorted(trainer: Trainer, ready: list[Batch], seconds: list[float]) -> float:
    """Seconds that a step of batches in random order takes longer, for as many tokens."""
    mixed = _ready(trainer, replace(DEFAULTS.order, pool_steps=1), len(ready))
    taken = _step_seconds([variants()[0]], [trainer], mixed)[0]
    tokens, mixed_tokens = (sum(batch.tokens for batch in part[WARM_STEPS:]) for part in (ready, mixed))
    return (sum(taken) / mixed_tokens - sum(seconds) / tokens) * tokens / len(seconds)


def _ready(trainer: Trainer, order: OrderOptions, steps: int) -> list[Batch]:
    plan = TrainPlan(replace(trainer.order(0), options=order))
    with batches(plan, trainer.reader, LoaderOptions()) as stream:
        return list(islice(stream, steps))


@contextmanager
def _put(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _frozen_embedding(trainer: Trainer) -> Iterator[None]:
    weight: Tensor = trainer.model.embedding.weight
    weight.requires_grad_(False)
    weight.grad = None
    try:
        yield
    finally:
        weight.requires_grad_(True)


@contextmanager
def _unchanged() -> Iterator[None]:
    yield


def _nothing(*values: object) -> None:
    pass
