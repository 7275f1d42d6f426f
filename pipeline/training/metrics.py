"""Measurements during training: sums on the device, and the rows of metrics.parquet."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from pipeline.lake.contract_files import write_contract_file
from schemas.training import METRICS


@dataclass(frozen=True, kw_only=True)
class MetricsRow:
    """A phase of an epoch: train, valid or test. `epoch` from 1."""

    epoch: int
    step: int
    phase: str
    loss: float
    accuracy: float
    seconds: float
    tokens: int


class Sums:
    """Sums of loss, right answers, rows and tokens. The first two stay on the device until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.tensor = torch.zeros(4, dtype=torch.float64, device=device)
        self._rows = self._tokens = 0

    @torch.no_grad()
    def add(self, loss_sum: Tensor, logits_BC: Tensor, labels_B: Tensor, rows: int, tokens: int) -> None:
        """Adds a batch; `loss_sum` is summed over its rows."""
        if rows:
            right = (logits_BC.argmax(dim=1) == labels_B).sum()
            self.tensor[:2] += torch.stack([loss_sum.detach().to(torch.float64), right.to(torch.float64)])
            self._rows += rows
            self._tokens += tokens

    def total(self) -> Tensor:
        """(4,): loss, right answers, rows, tokens, as float64 on the device."""
        counts = torch.tensor([0.0, 0.0, self._rows, self._tokens], dtype=torch.float64)
        return self.tensor + counts.to(self.tensor.device)

    def load(self, total: Tensor) -> None:
        """Starts from the totals of a checkpoint."""
        self.tensor[:2] = total[:2].to(self.tensor.device)
        self._rows, self._tokens = int(total[2]), int(total[3])


def write_metrics(path: Path, rows: Sequence[MetricsRow]) -> None:
    """Writes metrics.parquet atomically (contract: `schemas.training.METRICS`)."""
    write_contract_file(path, pa.Table.from_pylist([asdict(row) for row in rows], schema=METRICS.schema), METRICS)
