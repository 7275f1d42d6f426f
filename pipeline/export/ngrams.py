"""The linear model of hashed n-grams as ONNX nodes; for its equations, see `pipeline/text/ngrams.py`.

ONNX has no set of a row's distinct values: the buckets are sorted, and each counts where it differs from the one before.
N rows, T positions, L n-grams that end at any of them, K buckets, C columns of weights.
"""

import numpy as np

from pipeline.export.graph import INT64, UINT64, Graph
from pipeline.export.layers import Tokens
from pipeline.models.layers.ngram_linear import NgramLinear
from pipeline.text.ngrams import MULTIPLIER, SEED


def linear_logits(graph: Graph, model: NgramLinear, inputs: Tokens) -> str:
    """The logits (N, number of classes)."""
    buckets = _buckets(graph, model, inputs)
    size = graph.add("Shape", buckets, start=1, end=2)
    ordered, _ = graph.add_many("TopK", [buckets, size], 2, axis=1)
    first = graph.add("Sub", graph.slice(ordered, 0, 1), _constant(graph, 1))
    before = graph.add("Concat", first, graph.slice(ordered, 0, -1), axis=1)
    distinct = graph.add("Not", graph.add("Equal", ordered, before))
    counted = graph.add("And", distinct, graph.add("GreaterOrEqual", ordered, _constant(graph, 0)))
    table = graph.constant(model.weights.cpu().numpy(), np.float16)
    said = graph.add("Gather", table, graph.add("Max", ordered, _constant(graph, 0)))
    said = graph.add("Cast", said, to=1)
    said = graph.add("Where", graph.add("Unsqueeze", counted, graph.ints(2)), said, graph.constant(0.0))
    scores = graph.add("ReduceSum", said, graph.ints(1), keepdims=0)
    scores = graph.add("Add", scores, graph.constant(model.bias.float().cpu().numpy()))
    if model.num_classes != 2:
        return scores
    half = graph.add("Mul", scores, graph.constant(0.5))
    return graph.add("Concat", graph.add("Neg", half), half, axis=1)


def _buckets(graph: Graph, model: NgramLinear, inputs: Tokens) -> str:
    """The bucket of each n-gram, -1 where none ends: int64 (N, L)."""
    found = []
    hashed = _mixed(graph, _constant(graph, int(SEED.astype(np.int64))), inputs.ids)
    for length in range(1, model.ngrams + 1):
        if length > 1:
            # What ended one token earlier; nothing did at the first token, whose n-gram is masked.
            before = graph.add("Concat", graph.slice(hashed, 0, 1), graph.slice(hashed, 0, -1), axis=1)
            hashed = _mixed(graph, before, inputs.ids)
        bucket = _shifted(graph, _times(graph, hashed), 64 - model.bits)
        whole = graph.add("And", inputs.mask, graph.add("GreaterOrEqual", inputs.places, _constant(graph, length - 1)))
        found.append(graph.add("Where", whole, bucket, _constant(graph, -1)))
    return graph.add("Concat", *found, axis=1)


def _mixed(graph: Graph, hashed: str, words: str) -> str:
    product = _times(graph, graph.add("BitwiseXor", hashed, words))
    return graph.add("BitwiseXor", product, _shifted(graph, product, 32))


def _times(graph: Graph, values: str) -> str:
    """Times the multiplier, modulo 2^64: the bits are those of the signed product."""
    return graph.add("Mul", values, _constant(graph, int(MULTIPLIER.astype(np.int64))))


def _shifted(graph: Graph, values: str, bits: int) -> str:
    unsigned = graph.add("Cast", values, to=UINT64)
    moved = graph.add("BitShift", unsigned, graph.constant(bits, np.uint64), direction="RIGHT")
    return graph.add("Cast", moved, to=INT64)


def _constant(graph: Graph, value: int) -> str:
    return graph.constant(value, np.int64)
