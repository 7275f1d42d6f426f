"""TensorBoard event files, if tensorboard is installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.training.metrics import MetricsRow


def event_writer(folder: Path) -> Callable[[list[MetricsRow]], None]:
    """A function that writes the latest epoch's metrics; it receives all metric rows.

    Raises:
        UsageError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError("--tensorboard needs tensorboard: install 'review-pipeline[tensorboard]'.") from error

    make_writer: Any = SummaryWriter

    def write(rows: list[MetricsRow]) -> None:
        newest = [row for row in rows if row.epoch == rows[-1].epoch]
        with make_writer(str(folder)) as writer:
            for row in newest:
                for name, value in {"loss": row.loss, **row.figures, "seconds": row.seconds, "tokens": row.tokens}.items():
                    writer.add_scalar(f"{name}/{row.phase}", value, row.step)

    return write
