"""The ranks that train together, and their communication. A world of one communicates nothing."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load, save
from torch import Tensor, distributed

from pipeline import errors
from pipeline.errors import PipelineError, StoppedError
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
            StoppedError: a signal came on the main rank, during `make`.
        """
        if self.size == 1:
            return make()
        failure: BaseException | None = None
        message: dict[str, Any] = {}
        array = np.zeros(0, np.uint8)
        if self.is_main:
            try:
                values, array = make()
                message = {"values": values}
            except (PipelineError, ContractError, StoppedError) as error:
                failure = error
                message = _described(error)
        message = json.loads(self._broadcast(_encoded(message)).tobytes())
        if failure is not None:
            raise failure
        if "values" not in message:
            raise _error(message)
        return message["values"], self._broadcast(array)

    def tensors_from_main(
        self, make: Callable[[], tuple[dict[str, Any], Mapping[str, Tensor]]]
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The same for JSON values and tensors by name. Other ranks receive the tensors on the CPU."""
        made: list[dict[str, Tensor]] = []

        def attempt() -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
            values, tensors = make()
            made.append(dict(tensors))
            content = b"" if self.size == 1 else save({name: unshared(tensor) for name, tensor in tensors.items()})
            return values, np.frombuffer(content, np.uint8)

        values, content = self.from_main(attempt)
        return values, made[0] if made else load(content.tobytes())

    def on_each(self, check: Callable[[], None]) -> None:
        """Runs `check` on every rank; the error of the lowest rank that has one is raised on all.

        Raises:
            PipelineError: an error raised by `check`.
        """
        failure: Exception | None = None
        try:
            check()
        except (PipelineError, ContractError) as error:
            failure = error
        if self.size > 1:
            first = torch.tensor([self.size if failure is None else self.rank])
            distributed.all_reduce(first, distributed.ReduceOp.MIN, group=self.control)
            if int(first) < self.size:
                mine = _encoded(_described(failure) if failure is not None else {})
                theirs = json.loads(self._broadcast(mine, int(first)).tobytes())
                failure = failure or _error(theirs)
        if failure is not None:
            raise failure

    def largest(self, number: int) -> int:
        """The largest of the numbers that the ranks have."""
        found = torch.tensor([number])
        if self.size > 1:
            distributed.all_reduce(found, distributed.ReduceOp.MAX, group=self.control)
        return int(found)

    def _broadcast(self, array: npt.NDArray[np.uint8], source: int = 0) -> npt.NDArray[np.uint8]:
        size = torch.tensor([len(array)])
        distributed.broadcast(size, source, group=self.control)
        content = torch.from_numpy(array.copy()) if self.rank == source else torch.empty(int(size), dtype=torch.uint8)
        if int(size):
            distributed.broadcast(content, source, group=self.control)
        return np.asarray(content.numpy())


def unshared(tensor: Tensor) -> Tensor:
    """A tensor on the CPU that owns all of its storage, as safetensors requires."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _encoded(message: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(json.dumps(message).encode(), np.uint8)


def _described(error: BaseException) -> dict[str, Any]:
    if isinstance(error, StoppedError):
        return {"stopped": error.signal_number}
    # Subclasses that are defined elsewhere become the one that the other ranks know.
    known = (kind.__name__ for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
    return {"error": next(known, ContractError.__name__), "text": str(error)}


def _error(message: Mapping[str, Any]) -> Any:
    """The error that another rank has described."""
    if "stopped" in message:
        return StoppedError(message["stopped"])
    return getattr(errors, message["error"], ContractError)(message["text"])


class _Silent:
    def advance(self, count: int, **figures: object) -> None:
        pass


@contextmanager
def silent() -> Iterator[Progress]:
    """The progress of ranks that report none."""
    yield _Silent()
