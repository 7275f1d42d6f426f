"""Flipped bits: none changes rows, labels, scores or what a training resumes from without a word."""

from pathlib import Path

import pytest

from pipeline.lake.paths import Lake
from tests.faults.flips import OTHER, REFUSED, TARGETS, copy_lake, flip_bits
from tests.faults.harness import Commands, Fault
from tests.faults.scenarios import TRAIN, make_trained

FEW = {"shards": 20, "log": 12, "vocabulary": 10, "bundle": 12, "predictions": 2, "checkpoints": 8}
MANY = {"shards": 150, "log": 100, "vocabulary": 60, "bundle": 100, "predictions": 40, "checkpoints": 60}


@pytest.fixture(scope="module")
def trained(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with two versions, a model, predictions and the checkpoints of a training that was killed."""
    root = tmp_path_factory.mktemp("flips") / "lake"
    make_trained(commands, root)
    (root / "raw" / "late.csv").write_text("text,label\nlate and good,pos\n")
    assert commands.run(root, "ingest", "--lake", root, "--workers", 0).code == 0
    assert commands.run(root, "score", root / "input.parquet", "--lake", root, "--workers", 1).code == 0
    # Killed where its bundle gets its name: the checkpoints are still there.
    total = commands.run(root, "train", "--lake", root, *TRAIN, "--seed", 5, fault=Fault(kinds="n")).counted
    killed = Fault(action="kill", kinds="n", at=total - 4)
    assert commands.run(root, "train", "--lake", root, *TRAIN, "--seed", 6, fault=killed).code == -9
    assert list(root.glob("checkpoints/*/epoch-*"))
    return Lake(root)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_few_flipped_bits(target: str, trained: Lake, tmp_path: Path) -> None:
    found = flip_bits(copy_lake(trained, tmp_path / "lake"), target, FEW[target])
    assert found.wrong == [] and found.outcomes[OTHER] == 0
    assert found.outcomes[REFUSED] or target == "predictions"  # these are written again


@pytest.mark.faults
@pytest.mark.parametrize("target", TARGETS)
def test_many_flipped_bits(target: str, trained: Lake, tmp_path: Path) -> None:
    found = flip_bits(copy_lake(trained, tmp_path / "lake"), target, MANY[target], seed=1)
    print(f"{target}: {dict(found.outcomes)}; nothing that is read changed: {dict(found.unread)}")
    assert found.wrong == []
