"""How long each architecture takes to train a batch, as a ratio to `lstm` at equal hidden size, on the CPU.

    python tests/benchmarks/cells.py [--hidden 128] [--batch 64] [--tokens 256] [--rounds 7] [--arch NAME …]

All run in turn in every round, so that a busy machine disturbs all alike; the table gives medians of forward plus
backward on the same random batch, without the optimizer (the same for all) and with sparse gradients of the embedding.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.models.registry import architectures, build_model

REFERENCE = "lstm"
VOCABULARY = 20_000
SENTENCE_END, SENTENCE_LENGTH = 2, 20
LIMIT = 8.0
"""Times of `lstm` that a hand-written cell may take (the other architectures are listed beside)."""


def stepper(arch: str, hidden: int, ids_BT: torch.Tensor, lengths_B: torch.Tensor) -> Callable[[], float]:
    """A function that runs one forward and backward pass and gives its seconds."""
    values: dict[str, object] = {"vocab_size": VOCABULARY, "num_classes": 2}
    if arch != "bag":
        values["hidden_dim"] = hidden
    if arch == "grid-lstm":
        values["layers"] = 1
    tokens = ["<pad>", "<unk>", ".", *(f"word{number}" for number in range(VOCABULARY - 3))]
    model = build_model(arch, values, tokens).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.sparse = True
    label_B = torch.arange(len(lengths_B)) % 2

    def step() -> float:
        started = time.perf_counter()
        torch.nn.functional.cross_entropy(model(ids_BT, lengths_B), label_B).backward()
        seconds = time.perf_counter() - started
        model.zero_grad(set_to_none=True)
        return seconds

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--arch", nargs="*", default=list(architectures()))
    options = parser.parse_args()

    torch.manual_seed(0)
    ids_BT = torch.randint(3, VOCABULARY, (options.batch, options.tokens))
    ids_BT[:, SENTENCE_LENGTH - 1 :: SENTENCE_LENGTH] = SENTENCE_END
    lengths_B = torch.randint(options.tokens * 3 // 4, options.tokens + 1, (options.batch,))
    ids_BT[torch.arange(options.tokens) >= lengths_B.unsqueeze(1)] = 0

    names = [REFERENCE, *(name for name in options.arch if name != REFERENCE)]
    steps = {name: stepper(name, options.hidden, ids_BT, lengths_B) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(options.rounds + 1):
        for name, step in steps.items():
            taken = step()
            if number:  # the first round warms up
                seconds[name].append(taken)
    reference = statistics.median(seconds[REFERENCE])
    print(f"hidden {options.hidden}, batch {options.batch}, {options.tokens} tokens, {torch.get_num_threads()} threads\n")
    print("| `--arch` | forward + backward, ms | × `lstm` | best, ms | best × `lstm`'s best |")
    print("|---|---:|---:|---:|---:|")
    for name in sorted(names, key=lambda name: statistics.median(seconds[name])):
        median, best = statistics.median(seconds[name]), min(seconds[name])
        print(
            f"| `{name}` | {median * 1e3:.0f} | {median / reference:.2f} | {best * 1e3:.0f} "
            f"| {best / min(seconds[REFERENCE]):.2f} |"
        )
    slow = [name for name in names if statistics.median(seconds[name]) > LIMIT * reference]
    print(f"\nOver {LIMIT:g} × `{REFERENCE}`: {', '.join(slow) or 'none'}.")


if __name__ == "__main__":
    main()
