"""fastText's speed at the same reviews, from Parquet to Parquet. Its model is another one, so no output is compared.

`--threads -1` trains a model in one epoch, of 10 dimensions with bigrams as its documentation recommends for sentiment;
otherwise it scores, and writes the input's columns with a prediction and its probability.
"""

import json
import sys
import time
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from score_common import arguments, basic_english, save, texts

TRAINING_ROWS = 25_000


def main() -> None:
    warnings.simplefilter("ignore")
    import fasttext

    options = arguments()
    model_path = options.bundle / "fasttext.bin"
    reviews = texts(options.input, options.rows)
    if options.threads < 0:
        path = options.bundle / "fasttext.txt"
        some = enumerate(reviews[:TRAINING_ROWS])
        path.write_text("\n".join(f"__label__{number % 2} {' '.join(basic_english(text))}" for number, text in some))
        fasttext.train_supervised(str(path), epoch=1, dim=10, wordNgrams=2, thread=2).save_model(str(model_path))
        return
    model = fasttext.load_model(str(model_path))
    started = time.perf_counter()
    # `predict` of the binding breaks under NumPy 2; the object below it does not. Labels come first, then probabilities.
    labels, probabilities = model.f.multilinePredict(
        [" ".join(basic_english(text)) + "\n" for text in reviews], 1, 0.0, "strict"
    )
    seconds = time.perf_counter() - started
    best = np.array([values[0] for values in probabilities], np.float32)
    save(options.output, best)
    table = pq.read_table(options.input)[: len(best)]
    table = table.append_column("prediction", pa.array([values[0].removeprefix("__label__") for values in labels]))
    pq.write_table(
        table.append_column("probability", pa.array(best)), options.output.with_suffix(".parquet"), compression="zstd"
    )
    sys.stdout.write(json.dumps({"loop_seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
