"""fastText's speed at the same reviews. It does less: it averages word vectors, and no output is compared.

`--threads -1` trains a model of the same vocabulary size in one epoch; otherwise it scores.
"""

import json
import sys
import time
import warnings

import numpy as np
from score_common import arguments, basic_english, save, texts


def main() -> None:
    warnings.simplefilter("ignore")
    import fasttext

    options = arguments()
    model_path = options.bundle / "fasttext.bin"
    reviews = texts(options.input, options.rows)
    if options.threads < 0:
        path = options.bundle / "fasttext.txt"
        lines = (f"__label__{number % 2} {' '.join(basic_english(text))}" for number, text in enumerate(reviews))
        path.write_text("\n".join(lines), encoding="utf-8")
        fasttext.train_supervised(str(path), epoch=1, dim=100, thread=2).save_model(str(model_path))
        return
    model = fasttext.load_model(str(model_path))
    started = time.perf_counter()
    # `predict` of the binding breaks under NumPy 2; the object below it does not. Labels come first, then probabilities.
    _, probabilities = model.f.multilinePredict([" ".join(basic_english(text)) + "\n" for text in reviews], 1, 0.0, "strict")
    seconds = time.perf_counter() - started
    save(options.output, np.array([values[0] for values in probabilities], np.float32))
    sys.stdout.write(json.dumps({"loop_seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
