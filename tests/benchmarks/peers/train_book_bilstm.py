"""The book's BiLSTM from raw files: `basic_english` word by word in Python, 25,000 words, packed sequences, 32 units a
direction, dropout .5, Adam. Ends at the epoch whose validation accuracy reaches `--target`, or after `--epochs`.
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import torch
from ingest_book import tokenize
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader
from train_common import say

WORDS, EMBEDDING, HIDDEN, BATCH = 25_000, 100, 32, 64
Review = tuple[Tensor, float]


class BiLSTM(nn.Module):
    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, EMBEDDING, padding_idx=0)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * HIDDEN, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.dropout(self.embedding(ids)), lengths, batch_first=True, enforce_sorted=False)
        _, (hidden, _) = self.lstm(packed)
        return self.linear(self.dropout(torch.cat([hidden[0], hidden[1]], dim=1))).squeeze(1)


def read(raw: Path, valid_files: set[str]) -> tuple[list[Review], list[Review], int]:
    """Training and validation reviews as ids, and the size of the vocabulary (of the training part)."""
    parts: tuple[list[tuple[list[str], float]], ...] = ([], [])
    for label, name in enumerate(("neg", "pos")):
        for path in sorted(raw.glob(f"**/train/{name}/*.txt")):
            valid = f"{name}/{path.name}" in valid_files
            parts[valid].append((tokenize(path.read_text(encoding="utf-8")), float(label)))
    counts: Counter[str] = Counter()
    for tokens, _ in parts[0]:
        counts.update(tokens)
    index = {token: number for number, (token, _) in enumerate(counts.most_common(WORDS), start=2)}
    train, valid = (
        [(torch.tensor([index.get(token, 1) for token in tokens] or [1]), label) for tokens, label in part] for part in parts
    )
    return train, valid, len(index) + 2


def collate(reviews: list[Review]) -> tuple[Tensor, Tensor, Tensor]:
    ids = [review for review, _ in reviews]
    lengths = torch.tensor([len(review) for review in ids])
    return pad_sequence(ids, batch_first=True), lengths, torch.tensor([label for _, label in reviews])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--valid-files", type=Path, required=True, help="JSON list of neg/… and pos/… names")
    parser.add_argument("--target", type=float, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    options = parser.parse_args()
    started = time.perf_counter()
    train, valid, vocabulary_size = read(options.raw, set(json.loads(options.valid_files.read_text())))
    torch.manual_seed(0)
    model = BiLSTM(vocabulary_size)
    optimizer, criterion = torch.optim.Adam(model.parameters()), nn.BCEWithLogitsLoss()
    train_loader = DataLoader(train, batch_size=BATCH, shuffle=True, collate_fn=collate)
    valid_loader = DataLoader(valid, batch_size=BATCH, collate_fn=collate)
    figures: dict[str, float] = {"read_seconds": time.perf_counter() - started}
    for epoch in range(1, options.epochs + 1):
        model.train()
        for ids, lengths, labels in train_loader:
            optimizer.zero_grad()
            criterion(model(ids, lengths), labels).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum(int(((model(ids, lengths) > 0) == (labels > 0.5)).sum()) for ids, lengths, labels in valid_loader)
        figures |= {f"accuracy_{epoch}": right / len(valid), f"seconds_{epoch}": time.perf_counter() - started}
        if right / len(valid) >= options.target:
            break
    say(**figures)


if __name__ == "__main__":
    main()
