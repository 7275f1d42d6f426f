"""Evaluation: every row counts once, regardless of the number of ranks. And metrics derived from a confusion matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.devices import autocast
from pipeline.errors import StoppedError
from pipeline.order.plan import EvaluationPlan
from pipeline.order.selection import Part
from pipeline.progress import track
from pipeline.training.control import Control
from pipeline.training.world import World, silent


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Metrics of one part. `confusion[i, j]`: rows of label i predicted as j."""

    loss: float
    accuracy: float
    rows: int
    tokens: int
    confusion: npt.NDArray[np.int64]

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes; a class that never occurs and is never predicted counts as 0."""
        right = self.confusion.diagonal()
        predicted = self.confusion.sum(axis=0)
        rows = self.confusion.sum(axis=1)
        return float(np.mean(2 * right / np.maximum(predicted + rows, 1)))

    @property
    def majority_accuracy(self) -> float:
        """The accuracy of always predicting the most frequent label."""
        return float(self.confusion.sum(axis=1).max()) / max(self.rows, 1)

    def score(self, metric: str) -> float:
        """The value of one of the `SELECTIONS`: more is better."""
        return {"accuracy": self.accuracy, "macro-f1": self.macro_f1, "loss": -self.loss}[metric]

    @property
    def only_class(self) -> int | None:
        """The class predicted for every row, if there is only one although the rows have several."""
        predicted = np.flatnonzero(self.confusion.sum(axis=0))
        return int(predicted[0]) if len(predicted) == 1 and np.count_nonzero(self.confusion.sum(axis=1)) > 1 else None

    def per_class(self, labels: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """Precision, recall, F1 and rows of each class; 0 instead of a division by zero."""
        found = {}
        for index, label in enumerate(labels):
            right = int(self.confusion[index, index])
            called, rows = int(self.confusion[:, index].sum()), int(self.confusion[index].sum())
            found[label] = {
                "precision": right / called if called else 0.0,
                "recall": right / rows if rows else 0.0,
                "f1": 2 * right / (called + rows) if called + rows else 0.0,
                "rows": rows,
            }
        return found


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    part: Part,
    world: World,
    *,
    num_classes: int,
    reader: RowGroupReader,
    batch_size: int,
    loader: LoaderOptions,
    precision: str,
    description: str,
    control: Control | None = None,
) -> Evaluation:
    """Loss (mean cross-entropy) and confusion matrix of a part; each rank evaluates its share, and all get the total.

    `model` is set to eval mode and back.

    Raises:
        StoppedError: any rank received a signal; raised on all of them.
        DataError: damaged shards.
    """
    plan = EvaluationPlan(part.rows_per_group, batch_size, world.rank, world.size)
    loss = torch.zeros((), dtype=torch.float64, device=world.device)
    pairs = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=world.device)
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
                    logits_BC = model(there.ids, there.lengths).float()
                loss += functional.cross_entropy(logits_BC, there.labels, reduction="sum").double()
                pairs += torch.bincount(there.labels * num_classes + logits_BC.argmax(dim=1), minlength=len(pairs))
                progress.advance(batch.rows)
                if control is not None and control.request.signal_number:
                    break
    finally:
        model.train(was_training)
    if control is not None and (stop := control.between_epochs().stop):
        raise StoppedError(stop)
    sums = world.sum(torch.cat([loss[None], torch.tensor([tokens], device=world.device).double(), pairs.double()])).cpu()
    confusion = sums[2:].numpy().astype(np.int64).reshape(num_classes, num_classes)
    rows = int(confusion.sum())
    return Evaluation(
        loss=float(sums[0]) / max(rows, 1),
        accuracy=float(confusion.trace()) / max(rows, 1),
        rows=rows,
        tokens=int(sums[1]),
        confusion=confusion,
    )
