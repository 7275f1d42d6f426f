"""The floor of ingest: reads every byte, runs our tokenize kernels in two threads, writes ids to Parquet, nothing else.

The ids are those of each batch's own dictionary: no vocabulary, no hashes, no labels, no checks, no table.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ingest_common import arguments, batches, review_files

from pipeline.text.kernels import read_files
from pipeline.text.tokenizers import tokenize

THREADS = 2


def main() -> None:
    options = arguments()
    pa.set_memory_pool(pa.system_memory_pool())
    root = os.path.join(options.input, "")  # noqa: PTH118  # paths are strings here
    parts = batches(review_files(options.input))

    def work(thread: int) -> None:
        schema = pa.schema([("ids", pa.list_(pa.int32()))])
        with pq.ParquetWriter(options.output / f"{thread}.parquet", schema, compression="zstd") as writer:
            for paths in parts[thread::THREADS]:
                names = "\0".join([*(path[len(root) :] for path in paths), ""])
                data, bounds = read_files(os.fsencode(root), os.fsencode(names), 1 << 20)
                offsets = np.frombuffer(bounds, np.int64).astype(np.int32)
                buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
                tokens = tokenize("basic_english", pa.Array.from_buffers(pa.string(), len(paths), buffers))
                ids = pa.ListArray.from_arrays(tokens.offsets, tokens.values.indices)
                writer.write_batch(pa.record_batch([ids], schema=schema))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))


if __name__ == "__main__":
    main()
