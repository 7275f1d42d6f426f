"""Several processes under torch's elastic launcher: `torchrun … -m pipeline train`, or `pipeline train --nproc N`.

With `torchrun --nnodes`, each node has a launcher of its own. When a rank dies, or a node joins, every launcher starts its
workers again, and the ranks are assigned again: the main rank may then be on another node.
"""

import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

import pipeline
from pipeline.devices import resolve_device
from pipeline.errors import EXIT_DONE, EXIT_NOTHING_NEW, LockedError, PipelineError, StoppedError, UsageError
from pipeline.training.world import World
from schemas.run import Receipt

log = logging.getLogger(__name__)

MEETING = timedelta(minutes=10)
"""How long ranks wait for each other at the start, when some still import torch."""
MAIN_ALONE = timedelta(days=7)
"""How long ranks wait for work that the main one does alone, such as fitting the n-gram model. If it dies, its connections
close, and they stop waiting at once."""
LOST_SECONDS = 120.0
"""How long the lock of a main rank that was lost may stay: twice as long as a lease of a lake on a store."""
FRESH_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""torch's environment variable with which a launcher opens a new store at each start of its workers."""


def launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a launcher started this process as one of its workers."""
    return "RANK" in environment and "WORLD_SIZE" in environment


def is_main(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is rank 0, or alone."""
    return environment.get("RANK", "0") == "0"


def is_first_of_node(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is the first of its node, or alone."""
    return environment.get("LOCAL_RANK", "0") == "0"


def is_on_several_nodes(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is more than one launcher."""
    return environment.get("GROUP_WORLD_SIZE", "1") != "1"


def lock_seconds(resumes: bool) -> float:
    """How long the main rank waits for the lock of what is trained: it may be that of its predecessor, which was lost with
    its node."""
    return LOST_SECONDS if launched() and (resumes or is_on_several_nodes()) else 0.0


def launch_id(environment: Mapping[str, str] = os.environ) -> str | None:
    """The name that all launchers of one run share (`--rdzv-id`), also over restarts; None without one."""
    found = environment.get("TORCHELASTIC_RUN_ID")
    return None if found in (None, "", "none") else found


def is_restarted(world: World, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether any launcher has restarted its workers; each counts for itself, and one that was started late has none."""
    return world.largest(int(environment.get("TORCHELASTIC_RESTART_COUNT", "0"))) > 0


def receipt_for_launcher(receipt: Receipt) -> Receipt:
    """The receipt with an exit code for torchrun, which takes any but 0 for a failure, and would start all workers again
    because there is nothing new to do."""
    return replace(receipt, exit_code=EXIT_DONE) if receipt.exit_code == EXIT_NOTHING_NEW else receipt


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Joins the world that the launcher's environment variables describe: NCCL between GPUs, gloo between CPUs.

    Raises:
        PipelineError: other ranks did not come, or one was lost during the block.
    """
    where = resolve_device(device)
    on_gpu = where.type == "cuda"
    check_launcher()
    store, rank, size = next(rendezvous("env://"))
    # A launcher keeps its store when it restarts its workers: without a new prefix, gloo finds the addresses of the dead.
    store = PrefixStore(meet(store, rank, size), store)
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=size, device_id=where if on_gpu else None
    )
    try:
        yield World(where, rank, size, distributed.new_group(backend="gloo", timeout=MAIN_ALONE))
    except RuntimeError as error:
        if not _is_of_network(error):
            raise
        raise PipelineError(
            f"rank {rank} lost the connection to another one: {error}. Where one failed, its own error is in the output of "
            "its node. torchrun starts all ranks again, as often as --max-restarts allows, and training continues from the "
            "last checkpoint; else run the same command with --resume."
        ) from error
    finally:
        distributed.destroy_process_group()


def check_launcher(environment: Mapping[str, str] = os.environ) -> None:
    """Warns where a node that is lost could not come back."""
    if (
        is_on_several_nodes(environment)
        and environment.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
        and is_main(environment)
    ):
        log.warning(
            "torchrun shares one store over all restarts, so a node that is lost cannot come back to this training. Set "
            "%s=1 on every node before you start torchrun.",
            FRESH_STORE,
        )


def meet(store: Store, rank: int, size: int, wait: timedelta = MEETING) -> str:
    """A name that the ranks of this start of the workers share, and those of earlier ones do not.

    Each rank announces itself under a new name, and the main one answers it. It answers again if a rank turns out to have
    been an earlier start's.

    Raises:
        PipelineError: a rank did not come.
    """
    end = time.monotonic() + wait.total_seconds()
    shared = secrets.token_hex(8)
    if rank:
        name = secrets.token_hex(8)
        store.set(f"pipeline/rank-{rank}", name)
        try:
            store.wait([f"pipeline/to-{name}"], wait)
        except RuntimeError as error:
            raise _absent(f"rank {rank} waited for rank 0", wait) from error
        shared = store.get(f"pipeline/to-{name}").decode()
        store.set(f"pipeline/{shared}/{rank}", "")
        return shared
    answered: dict[int, bytes] = {}
    missing = set(range(1, size))
    while missing:
        for other in sorted(missing):
            if store.check([f"pipeline/{shared}/{other}"]):
                missing.discard(other)
            elif store.check([f"pipeline/rank-{other}"]):
                name_of_other = store.get(f"pipeline/rank-{other}")
                if answered.get(other) != name_of_other:
                    store.set(f"pipeline/to-{name_of_other.decode()}", shared)
                    answered[other] = name_of_other
        if missing and time.monotonic() > end:
            raise _absent(f"rank 0 waited for {', '.join(f'rank {other}' for other in sorted(missing))}", wait)
        time.sleep(0.02 if missing else 0)
    return shared


def _absent(who: str, wait: timedelta) -> PipelineError:
    return PipelineError(
        f"{who} for {wait.total_seconds():g} s. Check that every node runs the same command with the same --nnodes and "
        "--rdzv-endpoint, and that the nodes reach each other; then try again."
    )


def _is_of_network(error: RuntimeError) -> bool:
    """Whether an error is that of a collective operation: gloo has no class for its own."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


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
