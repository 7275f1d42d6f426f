"""Two long-memory problems: which recurrence still learns when the relevant input is far back.

    python -m tests.benchmarks.long_memory [--problem adding|copying] [--length 150] [--steps 1000] [--arch NAME …]
    python -m tests.benchmarks.long_memory --length 150 500 1000 --arch lstm goru mingru minlstm qrnn sru lru

Adding: a sequence holds a random number in [0, 1) and a mark at each position; two positions are marked, one in each
half. The target is the sum of the two marked numbers, read from the last state. Error: mean squared; always answering 1
costs 1/6. Copying: ten symbols of eight, `length` blanks, a signal, ten blanks; the target is blanks, and after the
signal the ten symbols. Error: cross-entropy per position; guessing the symbols costs 10 ln 8 / (length + 20).
A model has solved a problem when its error on unseen sequences is below a tenth of that.

Source: Hochreiter & Schmidhuber 1997, experiments 2 and 4; as in Arjovsky et al. 2015, sections 4.1 and 4.2.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

from pipeline.models.layers.peephole import PeepholeLSTM
from pipeline.models.layers.recurrent import MakeLayer, torch_layer
from pipeline.models.layers.rows import PaddedRows
from pipeline.models.layers.scan_cell import MakeCell
from pipeline.models.layers.unitary import GORU, UnitaryRNN
from pipeline.models.lru import LRUCell
from pipeline.models.mingru import MinGRUCell
from pipeline.models.minlstm import MinLSTMCell
from pipeline.models.qrnn import QRNNCell
from pipeline.models.sru import SRUCell

Batch = tuple[Tensor, Tensor]


class Scanned(nn.Module):
    """A scan cell with the interface of `nn.LSTM(batch_first=True)`, over rows that all have T tokens."""

    def __init__(self, make_cell: MakeCell, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.cell = make_cell(input_dim, hidden_dim)

    def forward(self, inputs_BTE: Tensor) -> tuple[Tensor, None]:
        rows, positions = inputs_BTE.shape[:2]
        states_TBS: Tensor = self.cell(
            inputs_BTE.transpose(0, 1), PaddedRows(torch.full((rows,), positions, device=inputs_BTE.device))
        )
        return states_TBS.transpose(0, 1), None


LONG_RING = {"radius_min": 0.9, "radius_max": 0.9999, "phase_max": 2 * math.pi}
"""Eigenvalues of `lru` that remember a thousand steps; its defaults are for text."""

LAYERS: dict[str, tuple[MakeLayer, int]] = {
    "rnn": (torch_layer(nn.RNN), 1),
    "lstm": (torch_layer(nn.LSTM), 1),
    "peephole-lstm": (PeepholeLSTM, 1),
    "gru": (torch_layer(nn.GRU), 1),
    "unitary-rnn": (UnitaryRNN, 2),
    "goru": (partial(GORU, num_factors=16), 1),
    "mingru": (partial(Scanned, MinGRUCell), 1),
    "minlstm": (partial(Scanned, MinLSTMCell), 1),
    "qrnn": (partial(Scanned, QRNNCell), 1),
    "sru": (partial(Scanned, SRUCell), 1),
    "lru": (partial(Scanned, partial(LRUCell, **LONG_RING)), 1),
}
"""The layer of an architecture, and how many features it returns for each hidden one."""

BATCH = 32
SYMBOLS, COPIED = 8, 10


def adding(num_rows: int, length: int, generator: torch.Generator) -> Batch:
    """Numbers and marks (B, T, 2), and the sums (B, 1)."""
    numbers_BT = torch.rand(num_rows, length, generator=generator)
    marks_BT = torch.zeros(num_rows, length)
    half = length // 2
    marks_BT.scatter_(1, torch.randint(0, half, (num_rows, 1), generator=generator), 1.0)
    marks_BT.scatter_(1, torch.randint(half, length, (num_rows, 1), generator=generator), 1.0)
    return torch.stack([numbers_BT, marks_BT], dim=-1), (numbers_BT * marks_BT).sum(dim=1, keepdim=True)


def copying(num_rows: int, length: int, generator: torch.Generator) -> Batch:
    """One-hot symbols, blanks (0) and signal (B, T, 10), and what to say at each position: int64 (B, T); T = length + 20."""
    symbols = torch.randint(1, SYMBOLS + 1, (num_rows, COPIED), generator=generator)
    ids_BT = torch.zeros(num_rows, length + 2 * COPIED, dtype=torch.int64)
    target_BT = ids_BT.clone()
    ids_BT[:, :COPIED] = symbols
    ids_BT[:, -COPIED - 1] = SYMBOLS + 1
    target_BT[:, -COPIED:] = symbols
    return one_hot(ids_BT, SYMBOLS + 2).float(), target_BT


class Memory(nn.Module):
    """Recurrent layers, and a linear one that reads their last state (adding) or all of them (copying)."""

    def __init__(self, problem: str, arch: str, hidden_dim: int, layers: int = 1) -> None:
        super().__init__()
        make_layer, features_per_unit = LAYERS[arch]
        self.problem = problem
        input_dims = [2 if problem == "adding" else SYMBOLS + 2] + [hidden_dim * features_per_unit] * (layers - 1)
        self.layers = nn.ModuleList(make_layer(input_dim, hidden_dim) for input_dim in input_dims)
        self.head = nn.Linear(hidden_dim * features_per_unit, 1 if problem == "adding" else SYMBOLS + 1)

    def error(self, inputs_BTE: Tensor, target: Tensor) -> Tensor:
        """The problem's error, a scalar."""
        states_BTS = inputs_BTE
        for layer in self.layers:
            states_BTS = layer(states_BTS)[0]
        if self.problem == "adding":
            return mse_loss(self.head(states_BTS[:, -1]), target)
        return cross_entropy(self.head(states_BTS).flatten(0, 1), target.flatten())


PROBLEMS: dict[str, Callable[[int, int, torch.Generator], Batch]] = {"adding": adding, "copying": copying}


def chance(problem: str, length: int) -> float:
    """The error of the best answer that remembers nothing."""
    return 1 / 6 if problem == "adding" else COPIED * math.log(SYMBOLS) / (length + 2 * COPIED)


def solve(
    problem: str,
    arch: str,
    length: int,
    *,
    hidden_dim: int = 64,
    layers: int = 1,
    steps: int,
    lr: float = 3e-3,
    seed: int = 0,
    device: str = "cpu",
) -> tuple[float, int]:
    """Trains on fresh batches until solved, or for `steps`. Returns the error on unseen sequences and the steps taken."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Memory(problem, arch, hidden_dim, layers).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    unseen = _on(device, PROBLEMS[problem](300, length, torch.Generator().manual_seed(seed + 1)))
    found = float("inf")
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        model.error(*_on(device, PROBLEMS[problem](BATCH, length, generator))).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0 or step == steps:
            with torch.no_grad():
                found = float(model.error(*unseen))
            print(f"{problem} {length}, {arch}: step {step}, error {found:.4f}", file=sys.stderr, flush=True)
            if found < chance(problem, length) / 10:
                return found, step
    return found, steps


def _on(device: str, batch: Batch) -> Batch:
    return batch[0].to(device), batch[1].to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=list(PROBLEMS), default="adding")
    parser.add_argument("--length", type=int, nargs="+", default=[150])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="Sequences are the same ones on each, so steps can be compared")
    parser.add_argument("--arch", nargs="*", choices=list(LAYERS), default=["rnn", "lstm", "unitary-rnn", "goru"])
    options = parser.parse_args()
    for length in options.length:
        _table(options, length)


def _table(options: argparse.Namespace, length: int) -> None:
    guess = chance(options.problem, length)
    size = f"hidden {options.hidden}, layers {options.layers}"
    print(f"\n{options.problem}, length {length}, {size}, at most {options.steps} steps of {BATCH}\n")
    print(f"| `--arch` | error (chance {guess:.4f}) | solved (below {guess / 10:.4f}) | steps | seconds |")
    print("|---|---:|---|---:|---:|")
    for arch in options.arch:
        started = time.perf_counter()
        sizes = {"hidden_dim": options.hidden, "layers": options.layers, "steps": options.steps}
        found, steps = solve(options.problem, arch, length, **sizes, device=options.device)
        seconds = time.perf_counter() - started
        print(f"| `{arch}` | {found:.4f} | {'yes' if found < guess / 10 else 'no'} | {steps} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
