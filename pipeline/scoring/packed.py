"""The forward pass of recurrent models without padding, for scoring on the CPU: the same logits in half the time.

It does what cannot be done where gradients are wanted, so it serves scoring alone:

- The first layer's projection of a word is the same wherever the word stands. It is made once for every word of the
  vocabulary, and half of a one-layer model's multiplications become a look-up.
- Rows are sorted by length; a step moves those alone that still have a token, and no padding is computed.
- Pooling goes along with the steps; the states of all positions are kept for a layer above only. Attention reads them
  all, which leaves nothing to gain, so models with attention go the ordinary way.

For fast steps, see `cells.py`. B rows, T positions, N tokens of all rows (those of position 0, then those
of position 1, …), n rows with a token at one position, E features in, H features of one direction, S of all, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.batches.ragged import Ragged
from pipeline.models.interface import Classifier, ReviewClassifier
from pipeline.models.layers.masking import token_mask
from pipeline.models.layers.recurrent_classifier import RecurrentClassifier
from pipeline.models.layers.regions import Regions
from pipeline.scoring.cells import CELLS, Cell, Product, is_cell

STEPS = ("forward", "embed", "classify", "encode", "features")
"""What a model may not do in a way of its own."""
TABLE_BYTES = 512 << 20
"""The vocabulary's projections are not kept where they take more than this."""


@dataclass(frozen=True, eq=False)
class Packing:
    """Where the tokens of B rows, the longest first, stand among all N."""

    counts: list[int]
    """How many rows have a token at each of the T positions."""
    tokens_N: Tensor
    backwards_N: Tensor
    """The place of the token that a reader from the end of the row meets instead; its own inverse. Empty where nobody is."""

    @classmethod
    def of(cls, reviews: Ragged, *, bidirectional: bool) -> "Packing":
        counts_T, tokens_N, backwards_N = reviews.packed(mirrored=bidirectional)
        return cls(counts_T.tolist(), torch.from_numpy(tokens_N), torch.from_numpy(backwards_N))


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a layer reads: token k is row `index_N[k]` of `values`, or of each direction's `projected`, if any. To what is
    projected comes the product of `regions_NR`, the features of token k in row k, by each direction's `products`, if any."""

    values: Tensor
    index_N: Tensor
    projected: Sequence[Tensor] = ()
    regions_NR: Tensor | None = None
    products: Sequence[Product] = ()


class RunningPool:
    """Pools ĥ of each row while a cell reads on: sees the first n rows at a position."""

    def __init__(self, kind: str, num_rows: int, hidden_dim: int) -> None:
        self.largest_BH = torch.full((num_rows, hidden_dim), -torch.inf) if "max" in kind else None
        self.total_BH = torch.zeros(num_rows, hidden_dim) if "mean" in kind else None

    def see(self, h_nH: Tensor, begin: int) -> None:
        if self.largest_BH is not None:
            largest_nH = self.largest_BH[: len(h_nH)]
            torch.maximum(largest_nH, h_nH, out=largest_nH)
        if self.total_BH is not None:
            self.total_BH[: len(h_nH)].add_(h_nH)

    def pooled(self, last_BH: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """What was asked for, in the order of `Pooling`: each (B, H)."""
        found = [] if self.largest_BH is None else [self.largest_BH]
        if self.total_BH is not None:
            found.append(self.total_BH / lengths_B.unsqueeze(1))
        return found or [last_BH]


class PackedForward:
    """Called as the model is, it gives the model's logits. `supports` says for which models it may be made.

    It reads the weights when it is made. Several threads may call it at once.
    """

    def __init__(self, model: ReviewClassifier) -> None:
        assert isinstance(model, RecurrentClassifier)
        encoder = model.encoder
        directions = [encoder.forward_layers, *([encoder.backward_layers] if encoder.bidirectional else [])]
        self._model = model
        self._words_VE = model.embedding.weight.detach()
        self._layers = [[CELLS[type(layer)](layer) for layer in layers] for layers in zip(*directions, strict=True)]
        self.tables: list[Tensor] = []
        """Each cell's projection of every word, once they are worth it."""
        self._made: list[Tensor] = []
        self._products: list[Product] = []
        """What each cell makes of the features of regions, where tokens are looked up."""

    @staticmethod
    def supports(model: Classifier) -> bool:
        """Whether the model is what this computes: an encoder of torch's cells and a pooling of its states, each step as
        `RecurrentClassifier` takes it."""
        return (
            isinstance(model, RecurrentClassifier)
            and model.pooling.kind != "attention"
            and all(getattr(type(model), step) is getattr(RecurrentClassifier, step) for step in STEPS)
            and all(is_cell(layer) for layer in (*model.encoder.forward_layers, *model.encoder.backward_layers))
        )

    @property
    def batch_factor(self) -> int:
        """How many times the rows of a padded batch a call should have: little is kept of each token, and steps of many
        rows are faster until their states leave the core's cache.
        """
        most = min(32, max(8, 1024 // self._layers[0][0].hidden_dim))
        return most if len(self._layers) == 1 else most // 2

    def make_table(self) -> None:
        """Projects the whole vocabulary, once. Until then, and where it would take more than `TABLE_BYTES`, tokens are
        projected where they stand, which costs less as long as they are fewer than the words.
        """
        cells = self._layers[0]
        if self._made:
            self.tables = self._made
        elif 4 * len(self._words_VE) * sum(cell.gates_dim for cell in cells) <= TABLE_BYTES:
            if self._model.regions is None:
                self._made = [cell.project(self._words_VE) for cell in cells]
            else:
                parts = [cell.project_apart(self._words_VE.shape[1]) for cell in cells]
                self._made = [words(self._words_VE) for words, _ in parts]
                self._products = [regions for _, regions in parts]
            self.tables = self._made

    def leave_table(self) -> None:
        """Projects tokens where they stand again, until `make_table` is called; the table is kept for that."""
        self.tables = []

    def __call__(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, C); see `ReviewClassifier.forward`."""
        return self.of_reviews(Ragged.of_padded(ids_BT.to(torch.int32).contiguous().numpy(), lengths_B.numpy()))

    def _with_regions(self, inputs: Inputs, regions: Regions, reviews: Ragged, lengths_B: Tensor) -> Inputs:
        """The inputs of reviews, the longest first, with the features of regions."""
        ids_BT = torch.from_numpy(reviews.padded()[0])[:, : int(lengths_B[0])]
        mask_TB = token_mask(lengths_B, ids_BT.shape[1]).t()
        regions_NR = regions(ids_BT, lengths_B).transpose(0, 1)[mask_TB]
        if inputs.projected:
            return replace(inputs, regions_NR=regions_NR, products=self._products)
        return _in_place(torch.cat([inputs.values.index_select(0, inputs.index_N), regions_NR], dim=1))

    def of_reviews(self, reviews: Ragged) -> Tensor:
        """Logits (B, C) of reviews, none of them empty, in any order."""
        order = np.argsort(-reviews.lengths, kind="stable")
        reviews = reviews.take(order)
        lengths_B, order_B = torch.from_numpy(reviews.lengths), torch.from_numpy(order)
        packing = Packing.of(reviews, bidirectional=len(self._layers[0]) > 1)
        inputs = Inputs(self._words_VE, packing.tokens_N, self.tables)
        if self._model.regions is not None:
            inputs = self._with_regions(inputs, self._model.regions, reviews, lengths_B)
        for cells in self._layers[:-1]:
            inputs = _in_place(_states(cells, inputs, packing))
        logits_BC = self._model.head(_pooled(self._layers[-1], inputs, packing, self._model.pooling.kind, lengths_B))
        return torch.empty_like(logits_BC).index_copy_(0, order_B, logits_BC)


def _in_place(values_NF: Tensor) -> Inputs:
    """Inputs that differ from token to token."""
    return Inputs(values_NF, torch.arange(len(values_NF)))


def _pooled(cells: Sequence[Cell], inputs: Inputs, packing: Packing, kind: str, lengths_B: Tensor) -> Tensor:
    """The top layer's pooled states: (B, features)."""
    directions = []
    for direction, cell in enumerate(cells):
        pool = RunningPool(kind, len(lengths_B), cell.hidden_dim)
        last_BH = _read(cell, direction, inputs, packing, pool.see)
        directions.append(pool.pooled(last_BH, lengths_B))
    parts = [part for parts in zip(*directions, strict=True) for part in parts]
    return torch.cat(parts, dim=1).mul_(cells[0].scale).add_(cells[0].shift)


def _states(cells: Sequence[Cell], inputs: Inputs, packing: Packing) -> Tensor:
    """A layer's states at all tokens: (N, S)."""
    directions = []
    for direction, cell in enumerate(cells):
        states_NH = torch.empty(len(inputs.index_N), cell.hidden_dim)

        def keep(h_nH: Tensor, begin: int, states_NH: Tensor = states_NH) -> None:
            states_NH[begin : begin + len(h_nH)] = h_nH

        _read(cell, direction, inputs, packing, keep)
        directions.append(states_NH.index_select(0, packing.backwards_N) if direction else states_NH)
    return torch.cat(directions, dim=1).mul_(cells[0].scale).add_(cells[0].shift)


def _read(cell: Cell, direction: int, inputs: Inputs, packing: Packing, see: Callable[[Tensor, int], None]) -> Tensor:
    """Runs a cell over all rows, forward (0) or backward (1), and shows ĥ and the place of its first row at each step.

    Returns:
        ĥ after the last token of each row, (B, H).
    """
    index_N = inputs.index_N.index_select(0, packing.backwards_N) if direction else inputs.index_N
    values = inputs.projected[direction] if inputs.projected else inputs.values
    regions_NR = inputs.regions_NR
    if direction and regions_NR is not None:
        regions_NR = regions_NR.index_select(0, packing.backwards_N)
    state = moving = cell.start(packing.counts[0])
    begin = 0
    for count in packing.counts:
        if count < len(moving[0]):
            moving = tuple(part[:count] for part in state)
        x_n = values.index_select(0, index_N[begin : begin + count])
        if regions_NR is not None:
            x_n = inputs.products[direction].plus(x_n, regions_NR[begin : begin + count])
        cell.step(x_n if inputs.projected else cell.project(x_n), moving)
        see(moving[0], begin)
        begin += count
    return state[0]
