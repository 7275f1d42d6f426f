"""A plain, well-written PyTorch script: Dataset, DataLoader with a worker, collate, padded batches in file order."""

import json
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from score_common import Ids, arguments, save, texts
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from pipeline.models.bundle import read_bundle


class Reviews(Dataset):
    def __init__(self, reviews: list[str], ids: Ids) -> None:
        self.reviews, self.ids = reviews, ids

    def __len__(self) -> int:
        return len(self.reviews)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(self.ids(self.reviews[index]))


def collate(rows: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


def main() -> None:
    options = arguments()
    bundle = read_bundle(options.bundle)
    model = bundle.load_model("cpu")
    reviews = Reviews(texts(options.input, options.rows), Ids(options.bundle, bundle.max_length))
    loader = DataLoader(reviews, batch_size=64, collate_fn=collate, num_workers=1, prefetch_factor=4)
    parts = []
    started = time.perf_counter()
    with torch.inference_mode():
        for ids, lengths in loader:
            parts.append(torch.softmax(model(ids, lengths), dim=1)[:, 1].numpy())
    seconds = time.perf_counter() - started
    positive = np.concatenate(parts)
    save(options.output, positive)
    table = pq.read_table(options.input)[: len(positive)].append_column("probability", pa.array(positive))
    pq.write_table(table, options.output.with_suffix(".parquet"), compression="zstd")
    sys.stdout.write(json.dumps({"loop_seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
