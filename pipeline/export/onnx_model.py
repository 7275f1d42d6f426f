"""A bundle as one ONNX file: from token ids to probabilities or numbers, with tokenizer, vocabulary, labels as metadata.

The graph is written by hand: torch's exporter unrolls, or fixes the sizes of, recurrent layers that read from both ends.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
from torch import nn

from pipeline.errors import PipelineError, UsageError
from pipeline.export import layers
from pipeline.export.graph import Graph
from pipeline.export.ngrams import linear_logits
from pipeline.lake.atomic import atomic_path
from pipeline.models.bag import Bag
from pipeline.models.blend import Blend
from pipeline.models.bundle import Bundle
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.linear_classifier import LinearClassifier
from pipeline.models.layers.recurrent_classifier import RecurrentClassifier
from pipeline.scoring.predictor import Predictor
from pipeline.tasks.registry import task_of
from pipeline.tasks.regression import Regression
from pipeline.text.tokenizers import described
from schemas.prediction import VALUE
from schemas.vocabulary import PAD_ID, SPECIALS, UNK_ID

FORMAT_VERSION = "1"
LARGEST_BYTES = 2**31 - 2**20
"""A file without external data cannot be larger: protobuf counts in 32 bits."""
TOLERANCE = 1e-4
CHECKED_ROWS = 64
SUPPORTED = "rnn, birnn, lstm, bilstm, gru, bigru, bag, nbsvm, ridge"

DESCRIPTION = (
    "ids: token ids, int64 (N, T), 0 after a review's end; lengths: tokens of each review, int64 (N), 1 or more. "
    "{output} Tokenize as the metadata say; a token's id is its place in the vocabulary, that of <unk> otherwise."
)
PROBABILITIES = "probabilities: float32 (N, C) in the order of the labels in the metadata."
NUMBERS = f"{VALUE}: float32 (N, 1), the predicted number."


def export_onnx(bundle: Bundle, path: Path) -> float:
    """Writes the file, once it has given our own answers; returns the largest difference from them.

    Raises:
        UsageError: the architecture cannot be exported, or the model is too large for one file.
        PipelineError: the exported model scores differently.
        CannotWriteError: the file cannot be written.
    """
    model = bundle.load_model("cpu")
    made = onnx_model(bundle, model)
    size = made.ByteSize()
    if size > LARGEST_BYTES:
        raise UsageError(f"{bundle.model_id} would take {size:,} bytes; the maximum for an ONNX file is {LARGEST_BYTES:,}.")
    content = made.SerializeToString()
    difference = largest_difference(bundle, content)
    # Numbers are compared in standard deviations: their unit may be any.
    if not difference <= TOLERANCE * float(bundle.task.get("std", 1.0)):
        raise PipelineError(
            f"the exported {bundle.model_id} gives answers that differ from ours by up to {difference:.2g}; the "
            "file was discarded. Please report this."
        )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return difference


def onnx_model(bundle: Bundle, model: nn.Module) -> Any:
    """The model as an `onnx.ModelProto`.

    Raises:
        UsageError: the architecture cannot be exported.
    """
    check_supported(bundle, model.deep if isinstance(model, Blend) else model)
    graph = Graph()
    inputs = layers.tokens(graph, "ids", "lengths", bundle.max_length)
    logits = _blended(graph, model, inputs) if isinstance(model, Blend) else _logits(graph, model, inputs)
    task = task_of(bundle)
    if isinstance(task, Regression):
        scaled = graph.add("Mul", logits, graph.constant(task.std))
        numbers = graph.add("Add", scaled, graph.constant(task.mean))
        bounded = graph.add("Clip", numbers, graph.constant(task.low), graph.constant(task.high))
        return graph.model(bounded, VALUE, 1, DESCRIPTION.format(output=NUMBERS), _metadata(bundle))
    probabilities = graph.add("Softmax", logits, axis=1)
    description = DESCRIPTION.format(output=PROBABILITIES)
    return graph.model(probabilities, "probabilities", len(bundle.labels), description, _metadata(bundle))


def _blended(graph: Graph, model: Blend, inputs: layers.Tokens) -> str:
    """The logits of an architecture with its temperature and, maybe, n-grams."""
    blend = model.blend
    read = layers.tokens(graph, inputs.ids, inputs.lengths, blend.max_length, blend.truncation)
    logits = graph.add("Mul", _logits(graph, model.deep, read), graph.constant(blend.scale))
    if model.ngrams is None:
        return logits
    said = graph.add("Mul", linear_logits(graph, model.ngrams, inputs), graph.constant(blend.ngram_scale))
    return graph.add("Add", logits, said)


def _logits(graph: Graph, model: nn.Module, inputs: layers.Tokens) -> str:
    if isinstance(model, LinearClassifier):
        return linear_logits(graph, model.linear, inputs)
    assert isinstance(model, ReviewClassifier)
    if isinstance(model, Bag):
        found = layers.States(layers.bag(graph, model, inputs), "")
    else:
        assert isinstance(model, RecurrentClassifier)
        embedded = graph.add("Gather", graph.constant(layers.array(model.embedding.weight)), inputs.ids)
        found = layers.recurrent(graph, model.encoder, embedded, inputs)
    return layers.linear(graph, model.head, layers.pooled(graph, model.pooling, found, inputs))


def check_supported(bundle: Bundle, model: nn.Module) -> None:
    """Raises `UsageError` where the model is of a kind that cannot be exported."""
    if isinstance(model, LinearClassifier) or (isinstance(model, Bag) and model.pooling.kind != "last"):
        return
    if isinstance(model, RecurrentClassifier) and type(model.encoder.forward_layers[0]) in layers.OPERATORS:
        return
    raise UsageError(
        f"{bundle.model_id} has the architecture {bundle.arch!r}, which cannot be exported. Supported: {SUPPORTED}."
    )


def largest_difference(bundle: Bundle, content: bytes) -> float:
    """The largest difference between ONNX Runtime's answers and ours, over random reviews of all lengths."""
    random = np.random.default_rng(0)
    longest = min(bundle.max_length + 2, 500)
    lengths_N = random.integers(1, longest + 1, CHECKED_ROWS)
    lengths_N[:4] = (1, 2, longest, min(bundle.max_length, longest))
    words = len(bundle.load_vocabulary())
    rows = [random.integers(UNK_ID, words, length) for length in lengths_N]
    ids_NT = np.full((CHECKED_ROWS, longest), PAD_ID, np.int64)
    for row, ids in enumerate(rows):
        ids_NT[row, : len(ids)] = ids
    with Predictor(bundle, "cpu") as predictor:
        ours_NC = predictor.predict(pa.array([row.tolist() for row in rows], pa.list_(pa.int32())))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (theirs_NC,) = session.run(
        [VALUE if bundle.task else "probabilities"], {"ids": ids_NT, "lengths": lengths_N.astype(np.int64)}
    )
    return float(np.abs(theirs_NC - ours_NC).max())


def _metadata(bundle: Bundle) -> dict[str, str]:
    """What is needed to use the model without this package; JSON where it is more than a word."""
    vocabulary = bundle.load_vocabulary()
    values: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "model_id": bundle.model_id,
        "arch": bundle.arch,
        "labels": list(bundle.labels),
        **({"task": bundle.task} if bundle.task else {}),
        "max_length": bundle.max_length,
        "tokenizer": vocabulary.tokenizer,
        "tokenizer_options": described(vocabulary.tokenizer),
        "vocabulary": vocabulary.tokens.to_pylist(),
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "special_tokens": dict(zip(SPECIALS, range(len(SPECIALS)), strict=True)),
    }
    return {
        f"review_pipeline.{name}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in values.items()
    }
