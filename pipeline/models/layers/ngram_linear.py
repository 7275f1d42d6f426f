"""A linear model of a review's n-grams: one weight for each hashed n-gram and class, each n-gram counted once.

    logits_c = b_c + Σ_k w_kc,   k over the distinct buckets of the review (`pipeline/text/ngrams.py`)

Two classes need one column: their logits are −z/2 and z/2. The weights are kept in half precision and summed in single;
`training/ngram_fit.py` fits them. B rows, T positions, C classes, K = 2^bits buckets.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.text.kernels import ngram_sums
from pipeline.text.ngrams import ngram_buckets

MAX_WEIGHTS = 2**25
"""Weights of a model: 64 MiB in half precision. With many classes there are fewer buckets."""


def num_columns(num_classes: int) -> int:
    """Number of columns of weights needed to distinguish the classes."""
    return 1 if num_classes == 2 else num_classes


def bounded_bits(bits: int, num_classes: int, num_ngrams: int | None = None) -> int:
    """`bits`, or fewer: so that all classes have room in `MAX_WEIGHTS`, and that a few n-grams get no huge table.

    `num_ngrams` is about how many distinct ones there are; four buckets for each leave few collisions.
    """
    most = (MAX_WEIGHTS // num_columns(num_classes)).bit_length() - 1
    enough = bits if num_ngrams is None else max(8, (4 * num_ngrams - 1).bit_length())
    return max(1, min(bits, most, enough))


def expanded(scores: Tensor, num_classes: int) -> Tensor:
    """The outputs (…, C), given the scores of all columns."""
    return torch.cat([-scores / 2, scores / 2], dim=-1) if num_classes == 2 else scores


class NgramLinear(nn.Module):
    """The linear model at the file's top. It computes on the CPU, whatever the device of its arguments."""

    weights: Tensor
    """float16 (K, columns)."""
    bias: Tensor
    """float32 (columns,)."""

    def __init__(self, num_classes: int, ngrams: int, bits: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ngrams = ngrams
        self.bits = bits
        columns = num_columns(num_classes)
        self.register_buffer("weights", torch.zeros(1 << bits, columns, dtype=torch.float16))
        self.register_buffer("bias", torch.zeros(columns))
        self.single: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def set_weights(self, weights_KC: Tensor, bias_C: Tensor) -> None:
        """Takes fitted weights, of any floating type."""
        self.weights.copy_(weights_KC)
        self.bias.copy_(bias_C)
        self.single = None

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C), float32. `ids_BT`: int32 or int64; `lengths_B`: int64, 1 … T."""
        return self.of_rows(*_rows(ids_BT, lengths_B)).to(ids_BT.device)

    def of_rows(
        self, values: npt.NDArray[np.int32], starts_B: npt.NDArray[np.int64], lengths_B: npt.NDArray[np.int64]
    ) -> Tensor:
        """Logits (B, C), float32, of the reviews `values[starts[i] : starts[i] + lengths[i]]`."""
        weights_KC, bias_C = self._tables()
        sums_BC = np.empty((len(starts_B), len(bias_C)), np.float32)
        ngram_sums(values, starts_B, lengths_B, self.ngrams, self.bits, weights_KC, sums_BC)
        return self._logits(torch.from_numpy(sums_BC + bias_C))

    def contributions(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """What the n-grams that first end at a token say (B, T, C); the sum over T, with the bias, is the logits."""
        weights_KC, _ = self._tables()
        found = ngram_buckets(*_rows(ids_BT, lengths_B), ngrams=self.ngrams, bits=self.bits)
        rows, positions = ids_BT.shape
        place_N = np.repeat(np.arange(rows) * positions, np.diff(found.bounds)) + found.ends
        said_NC = torch.zeros(rows * positions, weights_KC.shape[1])
        said_NC.index_add_(0, torch.from_numpy(place_N), torch.from_numpy(weights_KC[found.values]))
        return self._logits(said_NC).view(rows, positions, -1).to(ids_BT.device)

    def bias_logits(self) -> Tensor:
        """The logits of a review without n-grams: (C,)."""
        return self._logits(self.bias.float())

    def _tables(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        if self.single is None:
            self.single = self.weights.float().cpu().numpy(), self.bias.float().cpu().numpy()
        return self.single

    def _logits(self, scores: Tensor) -> Tensor:
        return expanded(scores, self.num_classes)


def _rows(ids_BT: Tensor, lengths_B: Tensor) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A padded batch as reviews side by side."""
    ids = ids_BT.to("cpu", torch.int32).contiguous().numpy()
    return ids.ravel(), np.arange(len(ids), dtype=np.int64) * ids.shape[1], lengths_B.cpu().contiguous().numpy()


def _forget(module: nn.Module, _: Any) -> None:
    assert isinstance(module, NgramLinear)
    module.single = None
