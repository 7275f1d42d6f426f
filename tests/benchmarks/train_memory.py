"""Peak memory of training and the loop's wait for data, at 20 million and at 200 million tokens (synthetic).

    python tests/benchmarks/train_memory.py [--sizes 20 200] [--steps 300] [--hidden-dim 128] [--folder FOLDER]

For each size a table of plain token shards is written (once; FOLDER keeps it), and a process of its own trains
`--steps` steps from the whole of it. Prints a Markdown table. Aims: peak memory flat within 10 %, wait at most 5 % of
the step time.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from synthetic_shards import MEAN_LENGTH, WORDS, write_shards

from pipeline.engines import local
from pipeline.errors import StoppedError
from pipeline.lake.shards import plain_shards
from pipeline.models.registry import build_model
from pipeline.order.options import OrderOptions
from pipeline.order.selection import select
from pipeline.signals import StopRequest
from pipeline.training.loop import LoopOptions, Trainer
from tests.support.tasks import TWO_LABELS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=float, nargs="+", default=[20, 200], help="millions of tokens")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--hidden-dim", type=int, default=128)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.steps, given.hidden_dim)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        found = [one_size(given.folder or Path(temporary), size, given.steps, given.hidden_dim) for size in given.sizes]
    print("| tokens, millions | rows | peak memory, MB | steps | step, ms | wait, % of step |\n|---|---|---|---|---|---|")
    for one in found:
        print(
            f"| {one['size']:g} | {one['rows']:,} | {one['peak_mb']:.0f} | {one['steps']} | {one['step_ms']:.1f} "
            f"| {100 * one['wait_share']:.2f} |"
        )
    peaks = [one["peak_mb"] for one in found]
    print(f"\npeak, largest / smallest: {max(peaks) / min(peaks):.3f}")


def one_size(folder: Path, size: float, steps: int, hidden_dim: int) -> dict[str, Any]:
    """Writes the shards where they are not there yet, and measures in a process of its own."""
    shards = folder / f"tokens-{size:g}m"
    if not shards.exists():
        write_shards(shards, round(size * 1e6 / MEAN_LENGTH))
    command = [sys.executable, __file__, "--measure", str(shards), "--steps", str(steps), "--hidden-dim", str(hidden_dim)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {"size": size, **json.loads(done.stdout.strip().splitlines()[-1])}


class Counting(Trainer):
    """Requests a stop after this many steps."""

    taken = 0
    limit = 0

    def train_step(self, batch: Any) -> torch.Tensor:
        self.taken += 1
        if self.taken >= self.limit:
            self.control.request.signal_number = 15
        return super().train_step(batch)


def measure(shards: Path, steps: int, hidden_dim: int) -> dict[str, float]:
    """Trains this many steps; the data is the whole table."""
    selection, _ = select(plain_shards(shards), TWO_LABELS, 0.1)
    model = build_model("lstm", {"vocab_size": WORDS, "num_classes": 2, "hidden_dim": hidden_dim})
    options = LoopOptions(epochs=1, order=OrderOptions(batch_size=64), clip_norm=1.0)
    with local.joined("cpu") as world, contextlib.suppress(StoppedError):
        trainer = Counting(
            model, selection.part("train"), selection.part("valid"), world, options, task=TWO_LABELS, stop=StopRequest()
        )
        trainer.limit = min(steps, trainer.steps)
        trainer.run()
    state = trainer.progress
    return {
        "rows": trainer.train.rows,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "steps": trainer.taken,
        "step_ms": 1000 * state.epoch_seconds / trainer.taken,
        "wait_share": state.wait_seconds / state.epoch_seconds,
    }


if __name__ == "__main__":
    main()
