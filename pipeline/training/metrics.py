"""Measurements during training: sums on the device, and the rows of metrics.parquet."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from pipeline.lake.contract_files import write_contract_file
from schemas.training import METRICS


@dataclass(frozen=True, kw_only=True)
class MetricsRow:
    """A phase of an epoch: train, valid or test. `epoch` from 1; `figures`: the task's, by their column."""

    epoch: int
    step: int
    phase: str
    loss: float
    figures: dict[str, float]
    seconds: float
    tokens: int

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as checkpoints keep them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "MetricsRow":
        """The row of a checkpoint; those of earlier releases have the accuracy in place of `figures`."""
        if "accuracy" in row:
            row = {**row, "figures": {"accuracy": row["accuracy"]}}
            del row["accuracy"]
        return cls(**row)

    def columns(self) -> dict[str, Any]:
        """The row of metrics.parquet."""
        row = self.to_dict()
        del row["figures"]
        return row | self.figures


class Sums:
    """Sums of loss, the task's tally, units and tokens. The first two stay on the device until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.tensor = torch.zeros(4, dtype=torch.float64, device=device)
        self._units = self._tokens = 0

    @torch.no_grad()
    def add(self, loss_sum: Tensor, tally: Tensor, units: int, tokens: int) -> None:
        """Adds a batch; `loss_sum` and `tally` are summed over its `units`, of which there are some."""
        self.tensor[:2] += torch.stack([loss_sum.detach().to(torch.float64), tally.to(torch.float64)])
        self._units += units
        self._tokens += tokens

    def total(self) -> Tensor:
        """(4,): loss, tally, units, tokens, as float64 on the device."""
        counts = torch.tensor([0.0, 0.0, self._units, self._tokens], dtype=torch.float64)
        return self.tensor + counts.to(self.tensor.device)

    def load(self, total: Tensor) -> None:
        """Starts from the totals of a checkpoint."""
        self.tensor[:2] = total[:2].to(self.tensor.device)
        self._units, self._tokens = int(total[2]), int(total[3])


def write_metrics(path: Path, rows: Sequence[MetricsRow]) -> None:
    """Writes metrics.parquet atomically (contract: `schemas.training.METRICS`)."""
    found = [row.columns() for row in rows]
    names = {name for row in found for name in row}
    schema = pa.schema([field for field in METRICS.schema if field.name in names or field.name not in METRICS.optional])
    write_contract_file(path, pa.Table.from_pylist(found, schema=schema), METRICS)
