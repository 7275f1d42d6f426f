"""The training loop, independent of lakes, launchers and command lines.

A step's random numbers (dropout) are a function of (seed, epoch, step, rank): the state of a training is {epoch, step}
with the model's and the optimizer's tensors, and a resumed run is the same run.
"""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.config.interval import Interval
from pipeline.datapipes.train_collate import Batch
from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.devices import autocast
from pipeline.errors import DataError, StoppedError
from pipeline.models.interface import Classifier
from pipeline.order.options import OrderOptions
from pipeline.order.order import Order
from pipeline.order.plan import TrainPlan
from pipeline.order.selection import Part
from pipeline.progress import track
from pipeline.signals import StopRequest
from pipeline.tasks.base import Loss, Objective, Task
from pipeline.tasks.figures import Evaluation
from pipeline.training.averaging import Average
from pipeline.training.checkpoint import Checkpoint, TrainingFolder
from pipeline.training.control import Control
from pipeline.training.evaluation import evaluate
from pipeline.training.metrics import MetricsRow, Sums
from pipeline.training.optimizer import Optimizer, use_sparse
from pipeline.training.regularisation import Regularisation, RegularisedClassifier, drop_words
from pipeline.training.schedule import lr_factor
from pipeline.training.world import World, silent
from schemas.vocabulary import UNK_ID

log = logging.getLogger(__name__)

READ_LOSS_EVERY = 50
"""Steps between two reads of the loss on a GPU; each read makes the loop wait for it."""


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """What determines the result of a training, given model and data, and how its batches are prepared."""

    epochs: int
    order: OrderOptions
    lr: float = 1e-3
    schedule: str = "constant"
    warmup: int = 0
    clip_norm: float = 0.0
    patience: int = 0
    average: float = 0.0
    max_length: int = 400
    truncation: str = "head"
    read_length: int | None = None
    select: str = "loss"
    """One of the task's selections."""
    regularisation: Regularisation = field(default_factory=Regularisation)
    precision: str = "fp32"
    embedding_update: str = "auto"
    loader: LoaderOptions = field(default_factory=LoaderOptions)


@dataclass
class Progress:
    """The position in a training; JSON, part of every checkpoint. `epoch` from 0; `step` is the next one in it."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    best_figures: dict[str, float] = field(default_factory=dict)
    best_score: float = float("-inf")
    stale_epochs: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    train_seconds: float = 0.0
    wait_seconds: float = 0.0
    tokens: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "Progress":
        """The state of a checkpoint; those of earlier releases have the best accuracy alone."""
        if "best_accuracy" in state:
            state = {**state, "best_figures": {"accuracy": state["best_accuracy"]}}
            del state["best_accuracy"]
        return cls(**state)


class Trainer:
    """Trains a model on one part and keeps the weights that are best on another."""

    def __init__(
        self,
        model: Classifier,
        train: Part,
        valid: Part,
        world: World,
        options: LoopOptions,
        *,
        task: Objective,
        soft_targets_UC: Tensor | None = None,
        folder: TrainingFolder | None = None,
        interval: Interval | None = None,
        stop: StopRequest | None = None,
        on_epoch: Callable[[list[MetricsRow]], None] | None = None,
        on_step: Callable[[int, int, float], None] | None = None,
    ) -> None:
        """`on_epoch` receives all metric rows so far; `on_step` (epoch, step, global mean loss), which costs a wait.
        `soft_targets_UC`: the class probabilities of the training part's unlabelled rows, in its order."""
        self.model = model.to(world.device)
        self.train = train
        self.valid = valid
        self.world = world
        self.options = options
        self.task = task
        self.folder = folder
        self.on_epoch = on_epoch
        self.on_step = on_step
        self.soft_targets_UC = None if soft_targets_UC is None else soft_targets_UC.to(world.device)
        self.control = Control(world, stop or StopRequest(), interval or Interval())
        self.steps = self.order(0).steps
        sparse = use_sparse(
            options.embedding_update, model, world.device, options.order.batch_size * options.max_length // 2, world.size
        )
        self.optimizer = Optimizer(model, options.lr, sparse=sparse)
        self.average = Average(model, options.average) if options.average else None
        self.best: dict[str, Tensor] = {}
        self.progress = Progress()
        self.sums = Sums(world.device)
        self.reader = self._reader(train)
        self.loss = task.loss_on(world.device)
        # Unlabelled rows without soft targets count for the virtual adversarial loss alone. It weighs as if the other loss
        # were a mean over the labelled rows.
        unlabelled = sum(train.soft_per_group)
        self.is_untaught = bool(unlabelled) and soft_targets_UC is None
        self.virtual_weight = 1.0 - unlabelled / train.rows if self.is_untaught else 1.0
        kinds = options.regularisation
        self.regularised = RegularisedClassifier(self.model, kinds.locked_dropout) if kinds.of_embedding else None
        never = options.epochs * self.steps
        self.first_perturbed = round(kinds.adversarial_warmup * self.steps) if kinds.perturbs else never
        self.wrapped = self._wrap()

    def run(self) -> Progress:
        """Trains to the end.

        Raises:
            StoppedError: a signal came; a checkpoint was written.
            DataError: the loss is NaN or infinite.
        """
        with track("train", self.options.epochs * self.steps, "steps") if self.world.is_main else silent() as bar:
            bar.advance(self.progress.epoch * self.steps + self.progress.step)
            while self.progress.epoch < self.options.epochs and not self._out_of_patience():
                self._epoch(bar.advance)
                self._validate()
                self._save()
                if stop := self.control.between_epochs().stop:
                    raise StoppedError(stop)
        return self.progress

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continues from a checkpoint."""
        self.model.load_state_dict(checkpoint.tensors["model"])
        self.optimizer.load(checkpoint.tensors.get("optimizer", {}))
        if self.average is not None:
            self.average.load(checkpoint.tensors["average"])
        self.best = checkpoint.tensors.get("best", {})
        self.progress = Progress.from_dict(checkpoint.state)
        if self.world.is_main:
            self.sums.load(checkpoint.tensors["sums"]["epoch"])
        log.info("resumed at epoch %d, step %d of %d", self.progress.epoch + 1, self.progress.step, self.steps)

    def load_best(self) -> None:
        """Restores the weights that were best on the validation part."""
        self.model.load_state_dict(self.best)

    def evaluate(self, part: Part, description: str) -> Evaluation:
        """Evaluates the current model on a part."""
        return evaluate(
            self.model,
            part,
            self.world,
            task=self.task,
            reader=self._reader(part),
            batch_size=self.options.order.batch_size * 2,
            loader=self.options.loader,
            precision=self.options.precision,
            description=description,
            control=self.control,
        )

    def rows(self) -> list[MetricsRow]:
        """The metric rows so far."""
        return [MetricsRow.from_dict(row) for row in self.progress.rows]

    def add_test_row(self, found: Evaluation, seconds: float) -> None:
        """Records the test of the best weights."""
        self._add_row(self.progress.best_epoch, "test", found.loss, found.figures(), seconds, found.tokens)

    def _add_row(self, epoch: int, phase: str, loss: float, figures: dict[str, float], seconds: float, tokens: int) -> None:
        row = MetricsRow(
            epoch=epoch,
            step=epoch * self.steps,
            phase=phase,
            loss=loss,
            figures=figures,
            seconds=round(seconds, 3),
            tokens=tokens,
        )
        self.progress.rows.append(row.to_dict())
        log.info("epoch %d %s: loss %.4f, %s, %.1f s", epoch, phase, loss, self.task.in_words(figures), seconds)

    def _epoch(self, advance: Callable[..., None]) -> None:
        state = self.progress
        plan = TrainPlan(self.order(state.epoch), self.world.rank, self.world.size)
        self.model.train()
        seconds_before, wait_before = state.epoch_seconds, state.wait_seconds
        started = time.perf_counter()
        waited = 0.0
        with batches(plan, self.reader, self.options.loader, state.step) as stream:
            while True:
                asked = time.perf_counter()
                batch = next(stream, None)
                now = time.perf_counter()
                waited += now - asked
                if batch is None:
                    break
                loss_sum = self.train_step(batch)
                state.step = batch.step + 1
                state.epoch_seconds = seconds_before + now - started
                state.wait_seconds = wait_before + waited
                if self.on_step is not None:
                    mean = self.world.sum(loss_sum.detach().double().clone()) / self.task.global_units(batch)
                    self.on_step(state.epoch, batch.step, float(mean))
                advance(1, **self.figures())
                self._act()
        state.epoch_seconds = seconds_before + time.perf_counter() - started

    def train_step(self, batch: Batch) -> Tensor:
        """One optimizer step on this rank's share of a batch; returns the sum of its losses."""
        options = self.options
        world = self.world
        state = self.progress
        torch.manual_seed(_step_seed(options.order.seed, state.epoch, batch.step, world.rank))
        global_step = state.epoch * self.steps + batch.step
        there = batch.to(world.device)
        targets = self.task.softened(self.task.targets(there), self.soft_targets_UC)
        if options.regularisation.word_dropout:
            there.ids, there.lengths = drop_words(there.ids, there.lengths, options.regularisation.word_dropout)
        self.optimizer.zero_grad()
        perturbed = self.regularised is not None and global_step >= self.first_perturbed
        if perturbed:
            loss_sum, outputs_BC = self._perturbed_step(there, targets)
        else:
            loss_sum, outputs_BC = self._backward(there, targets, self.wrapped, self.loss)
        if options.clip_norm:
            self.optimizer.clip(options.clip_norm)
        self.optimizer.step(lr_factor(options.schedule, global_step, options.epochs * self.steps, options.warmup))
        if self.average is not None:
            self.average.update(global_step)
        if batch.rows:
            with torch.no_grad():
                tally = self.task.tally(outputs_BC, targets)
            units = int((batch.targets >= 0).sum()) if self.is_untaught else self.task.units(batch)
            self.sums.add(loss_sum, tally, units, batch.tokens)
        return loss_sum

    def _backward(
        self, batch: Batch, targets: Tensor, classify: Callable[[Tensor, Tensor], Tensor], loss: Loss
    ) -> tuple[Tensor, Tensor]:
        """Adds the gradient of a batch's mean loss; returns the loss, summed over its rows, and the outputs (B, C)."""
        with autocast(self.world.device, self.options.precision):
            outputs_BC = classify(batch.ids, batch.lengths)
        outputs_BC = outputs_BC.float()
        loss_sum = loss(outputs_BC, targets) if batch.rows else outputs_BC.sum() * 0.0
        # DDP averages over ranks; times the number of ranks, that is the sum, and in total the global batch's mean.
        (loss_sum * (self.world.size / self.task.global_units(batch))).backward()  # type: ignore[no-untyped-call]
        return loss_sum, outputs_BC

    def _perturbed_step(self, batch: Batch, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the gradients of the loss and of the adversarial losses, all with the same dropout."""
        regularised, kinds = self.regularised, self.options.regularisation
        assert regularised is not None
        seed = torch.initial_seed()
        with self._alone():
            classify = partial(self.wrapped, keep=bool(kinds.adversarial))
            loss_sum, outputs_BC = self._backward(batch, targets, classify, self.loss)
        if kinds.adversarial:
            change_BTE = regularised.perturbation(kinds.adversarial, batch.lengths)
            torch.manual_seed(seed)
            with self._alone() if kinds.virtual_adversarial else nullcontext():
                self._backward(batch, targets, partial(self.wrapped, perturbation_BTE=change_BTE), self.loss)
        if kinds.virtual_adversarial:
            assert isinstance(self.task, Task)
            expected_BC, divergence = outputs_BC.detach(), self.task.divergence
            change_BTE = regularised.virtual_perturbation(
                kinds.virtual_adversarial, batch.ids, batch.lengths, expected_BC, divergence, seed
            )
            torch.manual_seed(seed)
            weight = self.virtual_weight

            def loss(outputs_BC: Tensor, expected_BC: Tensor) -> Tensor:
                return weight * divergence(outputs_BC, expected_BC)

            self._backward(batch, expected_BC, partial(self.wrapped, perturbation_BTE=change_BTE), loss)
        return loss_sum, outputs_BC

    def _alone(self) -> AbstractContextManager[None]:
        """For all backward passes of a step but the last: ranks exchange the sum of the gradients only."""
        return self.wrapped.no_sync() if isinstance(self.wrapped, DistributedDataParallel) else nullcontext()

    def figures(self) -> dict[str, object]:
        """What the progress bar shows; on a GPU not after every step, because reading the loss waits for it."""
        if self.world.device.type == "cuda" and self.progress.step % READ_LOSS_EVERY:
            return {}
        loss, tally, units, _ = self.sums.total().tolist()
        mean = loss / max(units, 1)
        return {"epoch": self.progress.epoch + 1, "loss": mean, **self.task.running(mean, tally / max(units, 1))}

    def _act(self) -> None:
        decision = self.control.after_step()
        if decision.checkpoint or decision.stop:
            self._save()
        if decision.stop:
            raise StoppedError(decision.stop)

    def _validate(self) -> None:
        state = self.progress
        started = time.perf_counter()
        try:
            with self.average.applied() if self.average is not None else nullcontext():
                found = self.evaluate(self.valid, f"validate {state.epoch + 1}")
                score = found.score(self.options.select)
                improved = score > state.best_score or (score == state.best_score and found.loss < state.best_loss)
                if improved:
                    self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        except StoppedError:
            self._save()
            raise
        loss, tally, units, tokens = self.world.sum(self.sums.total()).tolist()
        if not np.isfinite(loss) or not np.isfinite(found.loss):
            raise DataError(f"epoch {state.epoch + 1}: the loss is NaN or infinite. Lower --lr, or set --clip-norm 1.")
        state.train_seconds += state.epoch_seconds
        state.tokens += int(tokens)
        figures = self.task.running(loss / units, tally / units)
        self._add_row(state.epoch + 1, "train", loss / units, figures, state.epoch_seconds, int(tokens))
        self._add_row(state.epoch + 1, "valid", found.loss, found.figures(), time.perf_counter() - started, found.tokens)
        if improved:
            state.best_epoch = state.epoch + 1
            state.best_loss = found.loss
            state.best_figures = found.figures()
            state.best_score = score
        state.stale_epochs = 0 if improved else state.stale_epochs + 1
        state.epoch = state.epoch + 1
        state.step = 0
        state.epoch_seconds = 0.0
        self.sums = Sums(self.world.device)
        if self.on_epoch is not None and self.world.is_main:
            self.on_epoch(self.rows())

    def _save(self) -> None:
        sums = self.world.sum(self.sums.total())
        if self.folder is not None and self.world.is_main:
            tensors = {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state(),
                "best": self.best,
                "sums": {"epoch": sums},
            }
            if self.average is not None:
                tensors["average"] = self.average.averages
            path = self.folder.write(Checkpoint(asdict(self.progress), tensors))
            log.debug("checkpoint %s", path)
        self.control.checkpoint_written()

    def _out_of_patience(self) -> bool:
        return bool(self.options.patience and self.progress.stale_epochs >= self.options.patience)

    def order(self, epoch: int) -> Order:
        """The order of the training rows in an epoch."""
        return Order(self.train.rows_per_group, self.options.order, epoch)

    def _reader(self, part: Part) -> RowGroupReader:
        options = self.options
        return RowGroupReader(
            part, options.max_length, self.model.config.vocab_size, options.truncation, options.read_length
        )

    def _wrap(self) -> nn.Module:
        model = self.regularised or self.model
        if self.world.size == 1:
            return model
        ids = [self.world.device.index] if self.world.device.type == "cuda" else None
        wrapped = DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)
        # DDP regroups gradients after its first pass, and with more than two ranks the groups decide in which order they
        # are summed. An empty pass now, and a training that continues rounds as one that was never interrupted.
        some_BT = torch.full((1, 4), UNK_ID, dtype=torch.int32, device=self.world.device)
        (wrapped(some_BT, torch.tensor([4], device=self.world.device)).sum() * 0.0).backward()
        self.optimizer.zero_grad()
        return wrapped


def _step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(epoch, step, rank)).generate_state(1)[0])
