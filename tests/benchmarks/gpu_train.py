"""Training on a GPU: tokens per second, against the same model on resident tensors and against the book's loop.

    python tests/benchmarks/gpu_train.py [--archs lstm bilstm gru] [--hidden-dims 128 512 1024] [--batch-size 256]
                                         [--steps 200] [--million-tokens 50] [--profile FOLDER]
    python tests/benchmarks/gpu_train.py --smoke        (on any CPU, in a minute: that the script runs, not how fast)

Needs torch, torchdata, pyarrow, numpy, typer and safetensors only. Three ways for each architecture, width and precision:

    ours       shards → the loader's threads → pinned memory → the training loop as `pipeline train` runs it
    resident   the same steps on the same batches, which are on the GPU already; aim: ours ≥ 0.95 of it
    book       batch 32, every review padded to 512, fp32, pageable copies, the loss read in each step; aim: ours ≥ 20×

Tokens are real ones, without padding. `--profile` writes a Chrome trace and prints where ours spends the time.
"""

import argparse
import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from synthetic_shards import MEAN_LENGTH, WORDS, write_shards
from torch.nn import functional

from pipeline.datapipes.train_collate import Batch
from pipeline.datapipes.train_loader import LoaderOptions, batches
from pipeline.datapipes.train_read import RowGroupReader
from pipeline.devices import resolve_device, resolve_precision
from pipeline.errors import StoppedError
from pipeline.lake.shards import plain_shards
from pipeline.models.registry import build_model
from pipeline.order.options import OrderOptions
from pipeline.order.order import Order
from pipeline.order.plan import TrainPlan
from pipeline.order.selection import Part, select
from pipeline.signals import StopRequest
from pipeline.training.loop import LoopOptions, Trainer
from pipeline.training.world import World
from tests.support.tasks import TWO_LABELS

BOOK_BATCH, BOOK_LENGTH = 32, 512


class Timed(Trainer):
    """Runs `limit` steps and times those after the warm-up."""

    limit = warmup = taken = tokens = 0
    started = 0.0

    def train_step(self, batch: Batch) -> torch.Tensor:
        if self.taken == self.warmup:
            synchronize(self.world.device)
            self.started = time.perf_counter()
        self.tokens += batch.tokens if self.taken >= self.warmup else 0
        self.taken += 1
        if self.taken >= self.limit:
            self.control.request.signal_number = 15
        return super().train_step(batch)

    def tokens_per_second(self) -> float:
        """Real tokens a second after the warm-up; waits for the GPU."""
        synchronize(self.world.device)
        return self.tokens / (time.perf_counter() - self.started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archs", nargs="+", default=["lstm", "bilstm", "gru"])
    parser.add_argument("--hidden-dims", type=int, nargs="+", default=[128, 512, 1024])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--million-tokens", type=float, default=50)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        given.archs, given.hidden_dims, given.precisions = ["lstm"], [16], ["fp32"]
        given.batch_size, given.steps, given.warmup, given.million_tokens = 32, 6, 2, 0.2
    device = resolve_device("cpu" if given.smoke else "cuda")
    with tempfile.TemporaryDirectory() as temporary:
        shards = Path(temporary) / "shards"
        write_shards(shards, round(given.million_tokens * 1e6 / MEAN_LENGTH))
        part = select(plain_shards(shards), TWO_LABELS, 0.1)[0].part("train")
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, a smoke run: no figure means anything"
        print(f"{name}; torch {torch.__version__}, batch {given.batch_size}, {given.steps} steps\n")
        print("| arch | hidden | precision | ours, tokens/s | of resident | of the book's loop | wait, % |")
        print("|---|---|---|---|---|---|---|")
        for arch, hidden_dim, precision in itertools.product(given.archs, given.hidden_dims, given.precisions):
            print(row(part, device, arch, hidden_dim, resolve_precision(precision, device), given), flush=True)


def row(part: Part, device: torch.device, arch: str, hidden_dim: int, precision: str, given: Any) -> str:
    """One line of the table."""
    trainer = timed(part, device, arch, hidden_dim, precision, given)
    with profiled(given.profile, f"{arch}-{hidden_dim}-{precision}"), contextlib.suppress(StoppedError):
        trainer.run()
    ours = trainer.tokens_per_second()
    wait = trainer.progress.wait_seconds / max(trainer.progress.epoch_seconds, 1e-9)
    resident = resident_speed(part, device, arch, hidden_dim, precision, given)
    book = book_speed(part, device, arch, hidden_dim, given)
    ratios = f"{ours / resident:.3f} | {ours / book:.1f}× | {100 * wait:.2f}"
    return f"| {arch} | {hidden_dim} | {precision} | {ours:,.0f} | {ratios} |"


def timed(part: Part, device: torch.device, arch: str, hidden_dim: int, precision: str, given: Any) -> Timed:
    """The trainer as `pipeline train` makes it."""
    options = LoopOptions(
        epochs=1,
        order=OrderOptions(batch_size=given.batch_size),
        clip_norm=1.0,
        precision=precision,
        loader=LoaderOptions(workers=given.workers, pin_memory=device.type == "cuda"),
    )
    trainer = Timed(make_model(arch, hidden_dim), part, part, World(device), options, task=TWO_LABELS, stop=StopRequest())
    trainer.limit, trainer.warmup = min(given.steps, trainer.steps), given.warmup
    return trainer


def resident_speed(part: Part, device: torch.device, arch: str, hidden_dim: int, precision: str, given: Any) -> float:
    """The same steps on batches that are on the device already."""
    trainer = timed(part, device, arch, hidden_dim, precision, given)
    with loaded(part, OrderOptions(batch_size=given.batch_size)) as stream:
        there = [batch.to(device) for batch in itertools.islice(stream, trainer.limit)]
    trainer.model.train()
    for batch in there:
        trainer.train_step(batch)
    return trainer.tokens_per_second()


def book_speed(part: Part, device: torch.device, arch: str, hidden_dim: int, given: Any) -> float:
    """The notebook's way: small batches, all padded to 512, everything waited for in each step."""
    model = make_model(arch, hidden_dim).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    model.train()
    tokens, started = 0, 0.0
    with loaded(part, OrderOptions(batch_size=BOOK_BATCH)) as stream:
        ready = [padded(batch) for batch in itertools.islice(stream, given.steps)]
    for number, (ids, lengths, labels, real) in enumerate(ready):
        if number == given.warmup:
            synchronize(device)
            tokens, started = 0, time.perf_counter()
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(ids.to(device), lengths.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
        loss.item()
        tokens += real
    return tokens / (time.perf_counter() - started)


def padded(batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """A batch padded to the book's length, where every position counts as a token."""
    ids = functional.pad(batch.ids, (0, BOOK_LENGTH - batch.ids.shape[1]))
    return ids, torch.full_like(batch.lengths, BOOK_LENGTH), batch.targets, batch.tokens


@contextlib.contextmanager
def loaded(part: Part, order: OrderOptions) -> Iterator[Iterator[Batch]]:
    """Batches of the first epoch, made without threads."""
    plan = TrainPlan(Order(part.rows_per_group, order, 0))
    with batches(plan, RowGroupReader(part, 400), LoaderOptions(workers=0)) as stream:
        yield stream


@contextlib.contextmanager
def profiled(folder: Path | None, name: str) -> Iterator[None]:
    """Profiles the block when there is a folder for the trace."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    with torch.profiler.profile(activities=kinds) as profile:
        yield
    profile.export_chrome_trace(str(folder / f"{name}.json"))
    by = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    print(profile.key_averages().table(sort_by=by, row_limit=15), file=sys.stderr)


def make_model(arch: str, hidden_dim: int) -> Any:
    """A model of the architecture; the same weights each time."""
    torch.manual_seed(0)
    return build_model(arch, {"vocab_size": WORDS, "num_classes": 2, "hidden_dim": hidden_dim})


def synchronize(device: torch.device) -> None:
    """Waits for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
