"""The ranks that train together, and their communication. A world of one communicates nothing."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed

from pipeline import errors
from pipeline.errors import PipelineError
from pipeline.progress import Progress
from schemas.contract import ContractError


@dataclass(frozen=True)
class World:
    """This process's rank, the number of ranks, and the device.

    `control` is a CPU process group for small messages, so they never wait for the GPU; None for one rank.
    """

    device: torch.device
    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and reports progress."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sums a tensor over all ranks, in place."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def concatenate(self, rows: Tensor) -> Tensor:
        """The rows (n, M) of all ranks, in the order of ranks; each rank may have another n."""
        if self.size == 1:
            return rows
        counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(self.size)]
        distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
        most = max(int(count) for count in counts)
        padded = rows.new_zeros(most, rows.shape[1])
        padded[: len(rows)] = rows
        found = [torch.zeros_like(padded) for _ in range(self.size)]
        distributed.all_gather(found, padded)
        return torch.cat([part[: int(count)] for part, count in zip(found, counts, strict=True)])

    def barrier(self) -> None:
        """Waits for all ranks."""
        if self.size > 1:
            distributed.barrier(group=self.control)

    def from_main(self, make: Callable[[], tuple[dict[str, Any], npt.NDArray[np.uint8]]]) -> tuple[dict[str, Any], Any]:
        """Runs `make` on the main rank and sends its JSON values and bytes to all; an error is raised on all ranks.

        Raises:
            PipelineError: any error raised by `make`.
        """
        if self.size == 1:
            return make()
        failure: Exception | None = None
        message: dict[str, Any] = {}
        array = np.zeros(0, np.uint8)
        if self.is_main:
            try:
                values, array = make()
                message = {"values": values, "bytes": len(array)}
            except (PipelineError, ContractError) as error:
                failure = error
                message = {"error": type(error).__name__, "text": str(error), "bytes": 0}
        message = json.loads(self._broadcast(np.frombuffer(json.dumps(message).encode(), np.uint8)).tobytes())
        if failure is not None:
            raise failure
        if "error" in message:
            raise getattr(errors, message["error"], ContractError)(message["text"])
        return message["values"], self._broadcast(array)

    def _broadcast(self, array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        size = torch.tensor([len(array)])
        distributed.broadcast(size, 0, group=self.control)
        content = torch.from_numpy(array.copy()) if self.is_main else torch.empty(int(size), dtype=torch.uint8)
        if int(size):
            distributed.broadcast(content, 0, group=self.control)
        return np.asarray(content.numpy())


class _Silent:
    def advance(self, count: int, **figures: object) -> None:
        pass


@contextmanager
def silent() -> Iterator[Progress]:
    """The progress of ranks that report none."""
    yield _Silent()
