"""What is measured while training: sums that live on the device, and the rows of metrics.parquet."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from pipeline.lake.atomic import atomic_path

METRICS_SCHEMA = pa.schema(
    [
        ("epoch", pa.int32()),
        ("step", pa.int64()),
        ("phase", pa.string()),
        ("loss", pa.float64()),
        ("accuracy", pa.float64()),
        ("seconds", pa.float64()),
        ("tokens", pa.int64()),
    ]
)
"""Columns of metrics.parquet. `step` counts from the start of training; `tokens` are real ones, without padding."""


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
    """Loss, right answers, rows and tokens, summed. The first two stay on the device until somebody reads them."""

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
        """Starts from a total that a checkpoint held."""
        self.tensor[:2] = total[:2].to(self.tensor.device)
        self._rows, self._tokens = int(total[2]), int(total[3])


def write_metrics(path: Path, rows: Sequence[MetricsRow]) -> None:
    """Writes metrics.parquet atomically."""
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=METRICS_SCHEMA), temporary)
