"""The floor: nothing but the forward pass on sorted, padded batches that are ready in memory.

`--threads 1`: one batch on each core; 0: one batch on all cores; both call the model as it is, on batches of 64.
`--threads 2`: as `pipeline score` calls it, on batches of its size.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import torch
from score_common import arguments, save, texts

from pipeline.batches.ragged import Ragged, plan_batches
from pipeline.config.score import DEFAULT_BATCH_SIZE
from pipeline.datapipes.score_encode import encode_texts
from pipeline.models.bundle import read_bundle
from pipeline.scoring.options import TOKENS_PER_REVIEW
from pipeline.scoring.predictor import Predictor

PLAIN, OURS = 1, 2


def main() -> None:
    options = arguments()
    bundle = read_bundle(options.bundle)
    model = bundle.load_model("cpu")
    ids, _ = encode_texts(bundle.load_vocabulary(), pa.array(texts(options.input, options.rows)))
    reviews = Ragged.from_lists(ids, bundle.max_length)
    predictor = Predictor(bundle, "cpu")
    ours = options.threads == OURS
    plan = predictor.plan(reviews) if ours else plan_batches(reviews.lengths, DEFAULT_BATCH_SIZE * TOKENS_PER_REVIEW)
    batches = [reviews.take(rows) for rows in plan]
    padded = [] if ours else [batch.padded() for batch in batches]
    positive = np.zeros(len(ids), np.float32)

    def forward(number: int) -> None:
        if ours:
            positive[plan[number]] = predictor.forward(batches[number])[:, 1]
            return
        with torch.inference_mode():
            logits_BC = model(*map(torch.from_numpy, padded[number]))
            positive[plan[number]] = torch.softmax(logits_BC, dim=1)[:, 1].numpy()

    cores = torch.get_num_threads()
    started, cpu_started = time.perf_counter(), time.process_time()
    if ours:
        predictor.prepare(reviews)
    if options.threads in (PLAIN, OURS):
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(forward, range(len(plan))))
    else:
        for number in range(len(plan)):
            forward(number)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    save(options.output, positive)
    sys.stdout.write(json.dumps({"loop_seconds": seconds, "loop_cpu_seconds": cpu_seconds}) + "\n")


if __name__ == "__main__":
    main()
