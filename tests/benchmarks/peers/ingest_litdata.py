"""LitData `optimize` with two workers. Its items need ids, so two processes first tokenize, count and park the tokens."""

import multiprocessing
import pickle
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from ingest_common import UNKNOWN, arguments, basic_english, batches, index_of, prove, read, review_files
from litdata import StreamingDataset, optimize

WORKERS = 2


def count(job: tuple[int, list[str]], folder: Path) -> Counter[str]:
    number, paths = job
    reviews = [basic_english(read(path)) for path in paths]
    (folder / f"{number:06d}").write_bytes(pickle.dumps(reviews, pickle.HIGHEST_PROTOCOL))
    return Counter(token for tokens in reviews for token in tokens)


def encode(path: str, index: dict[str, int]):
    for tokens in pickle.loads(Path(path).read_bytes()):
        yield {"ids": np.array([index.get(token, UNKNOWN) for token in tokens], np.int32)}


def main() -> None:
    options = arguments()
    chunks, parked = options.output / "chunks", options.output / "tokens"
    if options.check:
        rows = StreamingDataset(str(chunks))
        prove((row["ids"] for row in rows), len(pickle.loads((options.output / "index").read_bytes())))
        return
    parked.mkdir()
    counts: Counter[str] = Counter()
    with multiprocessing.Pool(WORKERS) as pool:
        for part in pool.imap_unordered(partial(count, folder=parked), enumerate(batches(review_files(options.input)))):
            counts.update(part)
    index = index_of(counts)
    (options.output / "index").write_bytes(pickle.dumps(index))
    optimize(
        fn=partial(encode, index=index),
        inputs=sorted(map(str, parked.iterdir())),
        output_dir=str(chunks),
        num_workers=WORKERS,
        chunk_bytes="64MB",
    )


if __name__ == "__main__":
    main()
