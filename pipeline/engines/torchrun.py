"""Several processes under torch's elastic launcher: `torchrun … -m pipeline train`, or `pipeline train --nproc N`."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

import pipeline
from pipeline.devices import resolve_device
from pipeline.errors import LockedError, PipelineError, StoppedError, UsageError
from pipeline.training.world import World


def launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a launcher started this process as one of its workers."""
    return "RANK" in environment and "WORLD_SIZE" in environment


def is_main(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is rank 0, or alone."""
    return environment.get("RANK", "0") == "0"


def restarts(environment: Mapping[str, str] = os.environ) -> int:
    """How often the launcher has restarted the workers."""
    return int(environment.get("TORCHELASTIC_RESTART_COUNT", "0"))


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Joins the world that the launcher's environment variables describe: NCCL between GPUs, gloo between CPUs."""
    where = resolve_device(device)
    on_gpu = where.type == "cuda"
    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        # The launcher keeps one store over all restarts: without a prefix, gloo finds the addresses of the dead and waits.
        # With several machines the count differs between them, and torch's own behaviour stays.
        store = PrefixStore(f"restart-{restarts()}", store)
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=size, device_id=where if on_gpu else None
    )
    try:
        yield World(where, distributed.get_rank(), distributed.get_world_size(), distributed.new_group(backend="gloo"))
    finally:
        distributed.destroy_process_group()


def num_workers(nproc: str) -> int:
    """Processes that `--nproc` asks for: a number, or one for each GPU.

    Raises:
        UsageError: there is no GPU.
    """
    if nproc != "gpu":
        return int(nproc)
    if not torch.cuda.device_count():
        raise UsageError(
            "--nproc gpu: torch sees no GPU here. Use a number, or install a CUDA build of torch and its driver."
        )
    return torch.cuda.device_count()


def launch(arguments: Sequence[str], workers: int, max_restarts: int) -> None:
    """Runs `pipeline <arguments>` in several processes on this machine; rank 0's stdout is ours.

    When one dies, all are restarted, up to `max_restarts` times, and go on from the last checkpoint.

    Raises:
        StoppedError: a signal came; the workers were told and have ended.
        PipelineError: the workers failed for good; carries the exit code of the one that failed first.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # -P keeps the working folder out of the children's path; where we are not installed they still have to find us.
    home = str(Path(pipeline.__file__).resolve().parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=workers,
        max_restarts=max_restarts,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        run_id=f"pipeline-{os.getpid()}",
    )
    try:
        elastic_launch(config, sys.executable)("-P", "-m", "pipeline", *arguments)
    except SignalException as stop:
        raise StoppedError(int(stop.sigval)) from None
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        raise _explained(rank, failure.exitcode, max_restarts) from None


def _explained(rank: int, code: int, max_restarts: int) -> BaseException:
    if code in (128 + signal.SIGTERM, 128 + signal.SIGINT):
        return StoppedError(code - 128)
    error: PipelineError
    if code == LockedError.exit_code:
        error = LockedError("the workers could not get a lock; see above.")
    else:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        error = PipelineError(
            f"worker {rank} {how}, after {max_restarts} restarts allowed. Its output is above. "
            "Fix the cause, then run the same command with --resume to continue from the last checkpoint."
        )
        error.exit_code = code if code > 0 else PipelineError.exit_code
    return error
