"""Parts of our models as ONNX nodes. N rows, T positions, E embedding and H hidden features, D directions, S of a state.

ONNX's recurrent operators take each row's length, so a row's states never depend on its padding, as in
`layers/recurrent.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.export.graph import INT64, Graph
from pipeline.models.bag import MULTIPLIER, PRIME, Bag
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.pooling import Pooling
from pipeline.models.layers.recurrent import Recurrent
from pipeline.models.layers.regions import HALF

GATES = {nn.LSTM: (0, 3, 1, 2), nn.GRU: (1, 0, 2), nn.RNN: (0,)}
"""Where ONNX's gates stand among torch's: i, o, f, c for the LSTM, z, r, h for the GRU."""
OPERATORS = {nn.LSTM: "LSTM", nn.GRU: "GRU", nn.RNN: "RNN"}
SMALLEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Names of tensors: `ids` (N, T) and `lengths` (N,) int64, `mask` bool (N, T), `places` int64 (T,)."""

    ids: str
    lengths: str
    mask: str
    places: str


@dataclass(frozen=True, slots=True)
class States:
    """`states` (N, T, S); `final` (N, S): the last state, of both directions if there are two."""

    states: str
    final: str


def array(tensor: torch.Tensor) -> "np.ndarray[Any, Any]":
    """The tensor's values."""
    found: np.ndarray[Any, Any] = tensor.detach().cpu().float().numpy()
    return found


def tokens(graph: Graph, ids: str, lengths: str, max_length: int, truncation: str = "head") -> Tokens:
    """The tokens that the model reads: at most `max_length` of `ids` (N, T), cut as `models.blend.cut` does."""
    size = graph.add("Squeeze", graph.add("Shape", ids, start=1, end=2), graph.ints(0))
    size = graph.add("Min", size, graph.constant(max_length, np.int64))
    places = graph.add("Range", graph.constant(0, np.int64), size, graph.constant(1, np.int64))
    if truncation == "head":
        ids = graph.slice(ids, 0, max_length)
    else:
        longer = graph.add("Sub", lengths, graph.constant(max_length, np.int64))
        skipped = graph.add("Unsqueeze", graph.add("Max", longer, graph.constant(0, np.int64)), graph.ints(1))
        late = graph.add("GreaterOrEqual", places, graph.constant(max_length // 2, np.int64))
        moved = graph.add("Mul", graph.add("Cast", late, to=INT64), skipped)
        ids = graph.add("GatherElements", ids, graph.add("Add", places, moved), axis=1)
    lengths = graph.add("Min", lengths, graph.constant(max_length, np.int64))
    mask = graph.add("Less", places, graph.add("Unsqueeze", lengths, graph.ints(1)))
    return Tokens(ids, lengths, mask, places)


def embedded(graph: Graph, model: ReviewClassifier, inputs: Tokens) -> str:
    """The embedded tokens (N, T, E), with the features of their regions, if the model has any."""
    words = graph.add("Gather", graph.constant(array(model.embedding.weight)), inputs.ids)
    if model.regions is None:
        return words
    zero = graph.constant(0, np.int64)
    kept = graph.add("Where", inputs.mask, inputs.ids, zero)
    table = graph.constant(array(model.regions.weight))
    around = graph.add("Pad", kept, graph.ints(0, HALF, 0, HALF), zero)
    total = graph.constant(array(model.regions.bias))
    for shift in range(2 * HALF + 1):
        end = shift - 2 * HALF or np.iinfo(np.int64).max
        total = graph.add("Add", graph.add("Gather", table, graph.slice(around, shift, end)), total)
    return graph.add("Concat", words, graph.add("Relu", total), axis=2)


def recurrent(graph: Graph, encoder: Recurrent, embedded: str, inputs: Tokens) -> States:
    """The states of the last layer, from embedded tokens (N, T, E)."""
    lengths = graph.add("Cast", inputs.lengths, to=6)  # int32
    values = graph.add("Transpose", embedded, perm=[1, 0, 2])
    final = ""
    directions = [encoder.forward_layers, *([encoder.backward_layers] if encoder.bidirectional else [])]
    for layers in zip(*directions, strict=True):
        values, final = _layer(graph, layers, values, lengths)
    return States(graph.add("Transpose", values, perm=[1, 0, 2]), final)


def _layer(graph: Graph, layers: Sequence[Any], values: str, lengths: str) -> tuple[str, str]:
    """A layer in one or both directions: its states (T, N, D·H) and its final ones (N, D·H)."""
    kind = type(layers[0])
    hidden = layers[0].hidden_size
    order = np.concatenate([np.arange(gate * hidden, (gate + 1) * hidden) for gate in GATES[kind]])
    weights = [
        np.stack([array(getattr(layer, f"{name}_l0"))[order] for layer in layers])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": "bidirectional" if len(layers) == 2 else "forward"}
    if kind is nn.GRU:
        attributes["linear_before_reset"] = 1
    w, r, b = graph.constant(weights[0]), graph.constant(weights[1]), graph.constant(np.concatenate(weights[2:], axis=1))
    states, final = graph.add_many(OPERATORS[kind], [values, w, r, b, lengths], 2, **attributes)
    width = graph.ints(0, 0, hidden * len(layers))
    states = graph.add("Reshape", graph.add("Transpose", states, perm=[0, 2, 1, 3]), width)
    final = graph.add("Reshape", graph.add("Transpose", final, perm=[1, 0, 2]), graph.ints(0, hidden * len(layers)))
    return states, final


def bag(graph: Graph, model: Bag, inputs: Tokens) -> str:
    """The states of a bag of n-grams: (N, T, E)."""
    embedded = graph.add("Gather", graph.constant(array(model.embedding.weight)), inputs.ids)
    features = inputs.lengths
    if model.ngram_embedding is not None:
        table = graph.constant(array(model.ngram_embedding.weight))
        one, zero = graph.constant(1, np.int64), graph.constant(0, np.int64)
        hashed = inputs.ids
        for length in range(2, model.ngrams + 1):
            rolled = graph.add(
                "Concat",
                graph.slice(hashed, -1, np.iinfo(np.int64).max),
                graph.slice(hashed, 0, -1),
                axis=1,
            )
            mixed = graph.add("Add", graph.add("Mul", rolled, graph.constant(MULTIPLIER, np.int64)), inputs.ids)
            hashed = graph.add("Mod", mixed, graph.constant(PRIME, np.int64))
            late = graph.add("GreaterOrEqual", inputs.places, graph.constant(length - 1, np.int64))
            whole = graph.add("And", inputs.mask, late)
            bucket = graph.add("Add", graph.add("Mod", hashed, graph.constant(model.buckets - 1, np.int64)), one)
            bucket = graph.add("Where", whole, bucket, zero)
            embedded = graph.add("Add", embedded, graph.add("Gather", table, bucket))
            fewer = graph.add("Sub", inputs.lengths, graph.constant(length - 1, np.int64))
            features = graph.add("Add", features, graph.add("Max", fewer, zero))
    share = graph.add("Div", graph.add("Cast", inputs.lengths, to=1), graph.add("Cast", features, to=1))  # float32
    return graph.add("Mul", embedded, graph.add("Unsqueeze", share, graph.ints(1, 2)))


def pooled(graph: Graph, pooling: Pooling, found: States, inputs: Tokens) -> str:
    """One vector a review: (N, features)."""
    if pooling.kind == "last":
        return found.final
    mask = graph.add("Unsqueeze", inputs.mask, graph.ints(2))
    if pooling.kind == "attention":
        return _attended(graph, pooling, found.states, inputs)
    parts = []
    if "max" in pooling.kind:
        hidden = graph.add("Where", mask, found.states, graph.constant(SMALLEST))
        parts.append(graph.add("ReduceMax", hidden, graph.ints(1), keepdims=0))
    if "mean" in pooling.kind:
        kept = graph.add("Where", mask, found.states, graph.constant(0.0))
        count = graph.add("Unsqueeze", graph.add("Cast", inputs.lengths, to=1), graph.ints(1))
        parts.append(graph.add("Div", graph.add("ReduceSum", kept, graph.ints(1), keepdims=0), count))
    return graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _attended(graph: Graph, pooling: Pooling, states: str, inputs: Tokens) -> str:
    key = graph.add("MatMul", states, graph.constant(array(pooling.key.weight).T))
    key = graph.add("Tanh", graph.add("Add", key, graph.constant(array(pooling.key.bias))))
    scores = graph.add("Squeeze", graph.add("MatMul", key, graph.constant(array(pooling.score.weight).T)), graph.ints(2))
    weights = graph.add("Softmax", graph.add("Where", inputs.mask, scores, graph.constant(SMALLEST)), axis=1)
    weighted = graph.add("Mul", states, graph.add("Unsqueeze", weights, graph.ints(2)))
    return graph.add("ReduceSum", weighted, graph.ints(1), keepdims=0)


def linear(graph: Graph, layer: nn.Linear, values: str) -> str:
    """W x + b."""
    return graph.add("Gemm", values, graph.constant(array(layer.weight)), graph.constant(array(layer.bias)), transB=1)
