"""ONNX Runtime with the same weights: `--threads -1` exports the graph, otherwise scores sorted, padded batches.

Everything but the forward pass is ours (Arrow tokenizing, batches of neighbours in length), so the runtimes are compared.
`--threads 1`: one batch on each core; 0: one batch on all cores.
"""

import json
import os
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
from score_common import arguments, save, texts

from pipeline.batches.ragged import Ragged, plan_batches
from pipeline.datapipes.score_encode import encode_texts
from pipeline.models.bundle import Bundle, read_bundle
from pipeline.scoring.options import TOKENS_PER_REVIEW

BATCH_SIZE = 16
"""Its fastest of 16, 64 and 256, by a tenth."""


def export(bundle: Bundle, path: Path) -> None:
    import torch

    model = bundle.load_model("cpu")
    example = (torch.ones(3, 7, dtype=torch.int64), torch.tensor([7, 5, 2]))
    axes = {"ids": {0: "rows", 1: "positions"}, "lengths": {0: "rows"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, example, path, input_names=["ids", "lengths"], output_names=["logits"], dynamic_axes=axes, dynamo=False
        )


def main() -> None:
    options = arguments()
    bundle = read_bundle(options.bundle)
    graph = options.bundle / "model.onnx"
    if options.threads < 0:
        export(bundle, graph)
        return
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    cores = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
    started = time.perf_counter()
    ids, _ = encode_texts(bundle.load_vocabulary(), pa.array(texts(options.input, options.rows)))
    reviews = Ragged.from_lists(ids, bundle.max_length)
    plan = plan_batches(reviews.lengths, BATCH_SIZE * TOKENS_PER_REVIEW)
    positive = np.zeros(len(ids), np.float32)

    def forward(rows: np.ndarray) -> None:
        ids_BT, lengths_B = reviews.take(rows).padded()
        (logits,) = session.run(None, {"ids": ids_BT.astype(np.int64), "lengths": lengths_B})
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        positive[rows] = odds[:, 1] / odds.sum(axis=1)

    with ThreadPoolExecutor(cores if options.threads == 1 else 1) as pool:
        list(pool.map(forward, plan))
    save(options.output, positive)
    sys.stdout.write(json.dumps({"loop_seconds": time.perf_counter() - started}) + "\n")


if __name__ == "__main__":
    main()
