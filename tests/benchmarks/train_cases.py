"""The two cases of the training benchmark that compare whole trainings: the book's RNN, and raw files to an accuracy."""

import argparse
import json
import shlex
import statistics
import sys
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.lake.paths import Lake
from pipeline.order.selection import select
from pipeline.tasks.registry import task_for
from pipeline.training.data import open_data
from tests.benchmarks.harness import Contestant, Result, Row

PEERS = Path(__file__).parent / "peers"
BOOK_FRACTION, TARGET_FRACTION = 0.25, 0.1
BOOK_RNN, BOOK_BILSTM = "the book's RNN", "the book's BiLSTM"
FASTER = {"bilstm": ("--epochs", "1", "--lr", "0.002"), "bag": ("--epochs", "4")}
"""What brings an architecture of ours above 85 % on validation films; anything else is the default."""


def book_contestants(lake: Path, epochs: int, ours: str) -> list[Contestant]:
    """Ours with `--config book-rnn`, and the book's own loop."""
    command = _train(lake, "--config", "book-rnn", "--epochs", epochs)
    book = [sys.executable, PEERS / "train_book_rnn.py", "--lake", lake, "--valid-fraction", BOOK_FRACTION]
    return [
        Contestant(name=f"{ours} --config book-rnn", command=command),
        Contestant(name=BOOK_RNN, command=[*book, "--epochs", epochs]),
    ]


def book_rows(results: dict[str, Result], lake: Path, epochs: int, ours: str) -> tuple[int, list[Row]]:
    """Training reviews of an epoch, and a row of each: the seconds are those of an epoch's training, their median."""
    data = open_data(Lake.find(str(lake)))
    _, counts = select(data.shards, task_for(data.vocabulary), BOOK_FRACTION)
    name = f"{ours} --config book-rnn"
    result, book = results[name], results[BOOK_RNN]
    for metrics in sorted((lake / "models").glob("rnn-*/metrics.parquet"))[-len(result.seconds) :]:
        for row in pq.read_table(metrics).to_pylist():
            key = {"train": "seconds", "valid": "accuracy"}[row["phase"]]
            result.figures.setdefault(f"{key}_{row['epoch']}", []).append(row[key])
    return int(sum(counts)), [_epoch_row(result, epochs), _epoch_row(book, epochs)]


def _epoch_row(result: Result, epochs: int) -> Row:
    seconds = [value for epoch in range(1, epochs + 1) for value in result.figures[f"seconds_{epoch}"]]
    accuracy = ", ".join(f"{result.figure(f'accuracy_{epoch}'):.1%}" for epoch in range(1, epochs + 1))
    return Row(
        name=result.contestant.name,
        seconds=statistics.median(seconds),
        spread=(min(seconds), max(seconds)),
        peak=result.peak,
        note=f"validation after each epoch: {accuracy}",
    )


def target_contestants(folder: Path, raw: Path, options: argparse.Namespace, ingested: Path) -> list[Contestant]:
    """Ours with ingest and training, each in a lake of its own; the book's way, held to the same films."""
    valid = folder / "valid.json"
    valid.write_text(json.dumps(_validation_files(ingested)), encoding="utf-8")
    found = []
    for arch, chosen in FASTER.items():
        lake = folder / f"target-{arch}"
        ingest = [sys.executable, "-m", "pipeline", "-q", "--lake", lake, "ingest", raw]
        train = _train(lake, "--arch", arch, *chosen)
        commands = " && ".join(shlex.join(map(str, command)) for command in (["rm", "-rf", lake], ingest, train))
        found.append(
            Contestant(name=f"pipeline ingest, train --arch {' '.join((arch, *chosen))}", command=["sh", "-c", commands])
        )
    book = [sys.executable, PEERS / "train_book_bilstm.py", "--raw", raw, "--valid-files", valid]
    found.append(Contestant(name=BOOK_BILSTM, command=[*book, "--target", options.target, "--epochs", options.epochs]))
    return found


def target_rows(results: dict[str, Result], options: argparse.Namespace) -> list[Row]:
    """Whole processes; the note says what accuracy they came to.

    Raises:
        AssertionError: ours stayed below the target.
    """
    rows = []
    for name, result in results.items():
        if name == BOOK_BILSTM:
            epochs = sum(key.startswith("accuracy_") for key in result.figures)
            reached = [result.figure(f"accuracy_{epoch}") for epoch in range(1, epochs + 1)]
            above = "" if max(reached) >= options.target else "; the target was not reached"
            note = f"{', '.join(f'{accuracy:.1%}' for accuracy in reached)} after each epoch{above}"
        else:
            lake = Path(shlex.split(result.contestant.command[2])[2])
            metrics = next((lake / "models").glob("*/metrics.parquet"))
            accuracy = max(row["accuracy"] for row in pq.read_table(metrics).to_pylist() if row["phase"] == "valid")
            assert accuracy >= options.target, f"{name} came to {accuracy:.1%} only"
            note = f"{accuracy:.1%}"
        rows.append(Row.of(result, note))
    return rows


def _train(lake: Path, *options: object) -> list[object]:
    return [sys.executable, "-m", "pipeline", "-q", "--lake", lake, "train", "--force", "--holdout", "0", *options]


def _validation_files(lake: Path) -> list[str]:
    """`neg/…` and `pos/…` names of the validation part's files."""
    data = open_data(Lake.find(str(lake)))
    part = select(data.shards, task_for(data.vocabulary), TARGET_FRACTION)[0].part("valid")
    names = []
    for group, rows in zip(part.groups, part.selected, strict=True):
        with pq.ParquetFile(group.path) as file:
            sources = file.read_row_group(group.index, columns=["source"])["source"].take(rows).to_pylist()
        names += ["/".join(source.split("/")[-2:]) for source in sources]
    return names
