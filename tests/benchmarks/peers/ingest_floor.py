"""The floor of ingest: reads every byte, runs our tokenize kernels in two threads, writes ids to Parquet, nothing else.

The ids are those of each batch's own dictionary: no vocabulary, no hashes, no labels, no checks, no table.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
from ingest_common import arguments, batches, review_files

from pipeline.text.tokenizers import tokenize

THREADS = 2


def content(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 20)
    finally:
        os.close(descriptor)


def main() -> None:
    options = arguments()
    parts = batches(review_files(options.input))

    def work(thread: int) -> None:
        schema = pa.schema([("ids", pa.list_(pa.int32()))])
        with pq.ParquetWriter(options.output / f"{thread}.parquet", schema, compression="zstd") as writer:
            for paths in parts[thread::THREADS]:
                texts = pa.array([content(path) for path in paths], pa.binary()).cast(pa.string())
                tokens = tokenize("basic_english", texts)
                ids = tokens.flatten().dictionary_encode().indices
                writer.write_batch(pa.record_batch([pa.ListArray.from_arrays(tokens.offsets, ids)], schema=schema))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))


if __name__ == "__main__":
    main()
