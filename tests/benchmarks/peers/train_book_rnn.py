"""The book's RNN exercise: every review cut or left-padded to 512 tokens, an embedding of the whole vocabulary that Adam
updates densely, the last state of an RNN of 32 units, batches of 32. Token ids, training and validation part are ours.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from train_common import parts_of, say

from pipeline.datapipes.train_read import RowGroupReader
from pipeline.datapipes.train_requests import ReadRequest
from pipeline.order.selection import Part

LENGTH, EMBEDDING, HIDDEN, BATCH = 512, 100, 32, 32


class RNN(nn.Module):
    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, EMBEDDING)
        self.rnn = nn.RNN(EMBEDDING, HIDDEN)
        self.linear = nn.Linear(HIDDEN, 1)

    def forward(self, ids: Tensor) -> Tensor:
        _, hidden = self.rnn(self.embedding(ids.t()))
        return self.linear(hidden.squeeze(0)).squeeze(1)


def left_padded(part: Part) -> TensorDataset:
    """ids: int64 (rows, 512); labels: float32 (rows,)."""
    reader = RowGroupReader(part, LENGTH)
    groups = [reader(ReadRequest(0, number, False)) for number in range(len(part.groups))]
    ids = np.zeros((part.rows, LENGTH), np.int64)
    rows = (row for group in groups for row in np.split(group.values, group.offsets[1:-1]) if len(group.targets))
    for place, row in enumerate(rows):
        ids[place, LENGTH - len(row) :] = row
    labels = np.concatenate([group.targets for group in groups]).astype(np.float32)
    return TensorDataset(torch.from_numpy(ids), torch.from_numpy(labels))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--valid-fraction", type=float, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    options = parser.parse_args()
    data, train, valid = parts_of(options.lake, options.valid_fraction)
    torch.manual_seed(0)
    model = RNN(len(data.vocabulary))
    optimizer, criterion = torch.optim.Adam(model.parameters()), nn.BCEWithLogitsLoss()
    train_loader = DataLoader(left_padded(train), batch_size=BATCH, shuffle=True)
    valid_loader = DataLoader(left_padded(valid), batch_size=BATCH)
    figures: dict[str, float] = {}
    for epoch in range(1, options.epochs + 1):
        model.train()
        started = time.perf_counter()
        for ids, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(ids), labels)
            loss.backward()
            optimizer.step()
        figures[f"seconds_{epoch}"] = time.perf_counter() - started
        model.eval()
        with torch.no_grad():
            right = sum(int(((model(ids) > 0) == (labels > 0.5)).sum()) for ids, labels in valid_loader)
        figures[f"accuracy_{epoch}"] = right / valid.rows
    say(**figures)


if __name__ == "__main__":
    main()
