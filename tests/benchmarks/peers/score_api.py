"""The Python API as a whole process: reads a Parquet file, scores it with `predict_table` or `predict`."""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import pipeline


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", choices=["predict", "predict_table"], required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    with pipeline.load(options.bundle) as model:
        if options.method == "predict":
            found = model.predict(pq.read_table(options.input, columns=["text"])["text"].to_pylist())
            np.save(options.output, np.array([one.probabilities["pos"] for one in found if one.probabilities], np.float32))
        else:
            table = model.predict_table(pq.read_table(options.input))
            pq.write_table(table, options.output.with_suffix(".parquet"), compression="zstd")
            np.save(options.output, table["probability_pos"].to_numpy())


if __name__ == "__main__":
    main()
