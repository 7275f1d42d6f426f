"""The book's way: one review at a time, a Python loop over the words, the model called with a batch of one."""

import json
import sys
import time

import numpy as np
import torch
from score_common import Ids, arguments, save, texts

from pipeline.models.bundle import read_bundle


def main() -> None:
    options = arguments()
    bundle = read_bundle(options.bundle)
    model = bundle.load_model("cpu")
    ids = Ids(options.bundle, bundle.max_length)
    reviews = texts(options.input, options.rows)
    positive = []
    started = time.perf_counter()
    for text in reviews:
        tokens = torch.tensor([ids(text)])
        with torch.no_grad():
            logits = model(tokens, torch.tensor([tokens.shape[1]]))
        positive.append(torch.softmax(logits, dim=1)[0, 1].item())
    seconds = time.perf_counter() - started
    save(options.output, np.array(positive))
    sys.stdout.write(json.dumps({"loop_seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
