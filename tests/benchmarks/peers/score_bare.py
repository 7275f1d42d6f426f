"""The floor: nothing but the forward pass on sorted, padded batches that are ready in memory.

The batches are cut as ours are. `--threads 1`: one batch on each core; 0: one batch on all cores.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import torch
from score_common import arguments, save, texts

from pipeline.datapipes.score_encode import encode_texts
from pipeline.models.bundle import read_bundle
from pipeline.scoring.batches import Ragged, plan_batches
from pipeline.scoring.options import DEFAULT_BATCH_SIZE, TOKENS_PER_REVIEW


def main() -> None:
    options = arguments()
    bundle = read_bundle(options.bundle)
    model = bundle.load_model("cpu")
    ids = encode_texts(bundle.load_vocabulary(), pa.array(texts(options.input, options.rows)))
    reviews = Ragged.from_lists(ids, bundle.max_length)
    plan = plan_batches(reviews.lengths, DEFAULT_BATCH_SIZE * TOKENS_PER_REVIEW)
    batches = [tuple(map(torch.from_numpy, reviews.padded(rows))) for rows in plan]
    positive = np.zeros(len(ids), np.float32)

    def forward(number: int) -> None:
        with torch.inference_mode():
            positive[plan[number]] = torch.softmax(model(*batches[number]), dim=1)[:, 1].numpy()

    cores = torch.get_num_threads()
    started = time.perf_counter()
    if options.threads == 1:
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(forward, range(len(plan))))
    else:
        for number in range(len(plan)):
            forward(number)
    seconds = time.perf_counter() - started
    save(options.output, positive)
    sys.stdout.write(json.dumps({"loop_seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
