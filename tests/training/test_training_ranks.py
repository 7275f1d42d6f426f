"""Two gloo ranks are one training: the same batches, the same losses, half the bytes each; and ranks may come and go."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.models.registry import networks
from tests.support.token_corpus import Corpus, write_corpus

ROOT = Path(__file__).resolve().parents[2]
STEPS = 10
WORKER = Path(__file__).with_name("rank_worker.py")
Answer = dict[str, Any]


def train(shards: Path, out: Path, ranks: int, *options: str) -> list[Answer]:
    """The answer of each rank that trained `lstm`."""
    return [answers["lstm"] for answers in train_each(shards, out, ranks, *options)]


def train_each(shards: Path, out: Path, ranks: int, *options: str) -> list[dict[str, Answer]]:
    """For each rank the answers by architecture."""
    launcher = [] if ranks == 1 else ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    done = subprocess.run(
        [sys.executable, *launcher, str(WORKER), str(shards), str(out), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads((out / f"rank-{rank}.json").read_text()) for rank in range(ranks)]


def global_batches(answers: list[Answer]) -> dict[tuple[int, int], list[str]]:
    found: dict[tuple[int, int], list[str]] = {}
    for answer in answers:
        for step in answer["steps"]:
            found.setdefault((step["epoch"], step["step"]), []).extend(step["rows"])
    return {key: sorted(rows) for key, rows in found.items()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("ranks"), 1600, row_groups=(40,), shard_groups=10)


@pytest.fixture(scope="module")
def alone(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    return train(corpus.shards, tmp_path_factory.mktemp("alone"), 1, "--epochs", "2")[0]


@pytest.mark.parametrize("update", ["dense", pytest.param("sparse", marks=pytest.mark.slow)])
def test_two_ranks_are_one(corpus: Corpus, alone: Answer, tmp_path: Path, update: str) -> None:
    if update == "sparse":
        alone = train(corpus.shards, tmp_path / "one", 1, "--epochs", "2", "--embedding-update", update)[0]
    two = train(corpus.shards, tmp_path / "two", 2, "--epochs", "2", "--embedding-update", update)
    assert global_batches(two) == global_batches([alone])
    for answer in two:
        assert [step["loss"] for step in answer["steps"]] == pytest.approx(
            [step["loss"] for step in alone["steps"]], abs=1e-5
        )
        assert answer["valid"] == pytest.approx(alone["valid"], abs=1e-5)
        assert answer["bytes"] <= 0.6 * alone["bytes"]


@pytest.mark.parametrize(("before", "after"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.slow)])
def test_resized(corpus: Corpus, alone: Answer, tmp_path: Path, before: int, after: int) -> None:
    checkpoints = ("--epochs", "2", "--checkpoints", str(tmp_path / "checkpoints"))
    first = train(corpus.shards, tmp_path / "first", before, *checkpoints, "--stop-after", "11")
    second = train(corpus.shards, tmp_path / "second", after, *checkpoints)
    done, rest = global_batches(first), global_batches(second)
    assert not done.keys() & rest.keys(), "no step is taken twice"
    assert {**done, **rest} == global_batches([alone])
    losses = [step["loss"] for step in first[0]["steps"] + second[0]["steps"]]
    assert losses == pytest.approx([step["loss"] for step in alone["steps"]], abs=1e-5)


@pytest.fixture(scope="module")
def every_architecture(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Answer]]:
    """The first steps of each architecture, alone and on rank 0 of two: all in one process, and in one pair of them."""
    options = ("--arch", *networks(), "--stop-after", str(STEPS))
    return [train_each(corpus.shards, tmp_path_factory.mktemp("every"), ranks, *options)[0] for ranks in (1, 2)]


@pytest.mark.parametrize("arch", networks())
def test_every_architecture_on_two_ranks(arch: str, every_architecture: list[dict[str, Answer]]) -> None:
    alone, two = ([step["loss"] for step in answers[arch]["steps"][:STEPS]] for answers in every_architecture)
    assert len(set(alone)) == STEPS, "the losses move"
    assert two == pytest.approx(alone, abs=1e-5)
