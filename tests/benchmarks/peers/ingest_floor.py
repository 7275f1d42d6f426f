"""The floor of ingest: reads every byte, runs our tokenize kernels in two threads, writes ids to Parquet, nothing else.

A folder of `.txt` files is read by our kernel; a `.csv` or `.jsonl` by Arrow, its column `text` taken. The ids are those of
each batch's own dictionary: no vocabulary, no hashes, no labels, no checks, no table.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq
from ingest_common import arguments, batches, review_files

from pipeline.text.kernels import read_files
from pipeline.text.tokenizers import tokenize

THREADS = 2
BLOCK_BYTES = 1 << 20


def texts_of_files(root: str, thread: int) -> Iterator[pa.StringArray]:
    """The thread's share of the folder, batch by batch."""
    root = os.path.join(root, "")  # noqa: PTH118  # paths are strings here
    for paths in batches(review_files(root))[thread::THREADS]:
        names = "\0".join([*(path[len(root) :] for path in paths), ""])
        data, bounds = read_files(os.fsencode(root), os.fsencode(names), 1 << 20)
        offsets = np.frombuffer(bounds, np.int64).astype(np.int32)
        yield pa.Array.from_buffers(pa.string(), len(paths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def reader_of(path: str) -> pa.RecordBatchReader:
    """A stream of the table's batches."""
    if path.endswith(".csv"):
        read = pa_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES)
        return pa_csv.open_csv(path, read_options=read, parse_options=pa_csv.ParseOptions(newlines_in_values=True))
    return pa_json.open_json(path, read_options=pa_json.ReadOptions(use_threads=False, block_size=BLOCK_BYTES))


def texts_of_table(reader: pa.RecordBatchReader, turn: Lock) -> Iterator[pa.StringArray]:
    """Whichever batches this thread is the first to ask for."""
    while True:
        with turn:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
        yield batch["text"]


def main() -> None:
    options = arguments()
    pa.set_memory_pool(pa.system_memory_pool())
    is_table = options.input.endswith((".csv", ".jsonl"))
    reader, turn = reader_of(options.input) if is_table else None, Lock()

    def work(thread: int) -> None:
        schema = pa.schema([("ids", pa.list_(pa.int32()))])
        parts = texts_of_files(options.input, thread) if reader is None else texts_of_table(reader, turn)
        with pq.ParquetWriter(options.output / f"{thread}.parquet", schema, compression="zstd") as writer:
            for texts in parts:
                tokens = tokenize("basic_english", texts)
                ids = pa.ListArray.from_arrays(tokens.offsets, tokens.values.indices)
                writer.write_batch(pa.record_batch([ids], schema=schema))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))


if __name__ == "__main__":
    main()
