"""Checkpoints: whole or absent, the newest kept, told apart by what they train."""

import os
from pathlib import Path

import pytest
import torch

from pipeline.config.interval import Interval
from pipeline.errors import UsageError
from pipeline.training.checkpoint import Checkpoint, TrainingFolder, find_resumable

IDENTITY = {"arch": "lstm", "batch_size": 64, "table_version": 3, "vocabulary": "abc", "model": {"hidden_dim": 8}}


def checkpoint(epoch: int, step: int) -> Checkpoint:
    tensors = {"model": {"head.weight": torch.full((2, 2), float(step))}, "best": {}}
    return Checkpoint({"epoch": epoch, "step": step}, tensors)


def test_the_newest_are_kept_and_read_back(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path / "one", keep=2)
    for epoch, step in ((0, 90), (0, 100), (1, 0)):
        folder.write(checkpoint(epoch, step))
    assert [path.name[:27] for path in folder.files()] == ["epoch-00000-step-000000100-", "epoch-00001-step-000000000-"]
    found = folder.read()
    assert found is not None
    assert found.state == {"epoch": 1, "step": 0}
    assert torch.equal(found.tensors["model"]["head.weight"], torch.zeros(2, 2))


def test_no_checkpoint_yet(tmp_path: Path) -> None:
    assert TrainingFolder(tmp_path).read() is None


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    folder.write(checkpoint(0, 5))
    half = tmp_path / ".tmp-1234-epoch-00000-step-000000009.safetensors"
    half.write_bytes(b"half")
    found = folder.read()
    assert found is not None and found.state["step"] == 5
    folder.sweep()
    assert not half.exists()


def test_a_damaged_one_is_put_aside_for_an_older_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = TrainingFolder(tmp_path, keep=1)
    older = folder.write(checkpoint(0, 5)).read_bytes()
    newest = folder.write(checkpoint(0, 9))
    newest.write_bytes(newest.read_bytes()[:40])
    (tmp_path / "epoch-00000-step-000000005.safetensors").write_bytes(older)  # an earlier release's name
    found = folder.read()
    assert found is not None and found.state["step"] == 5
    assert "its content has changed" in caplog.text
    folder.write(checkpoint(0, 7))
    assert [path.name[:27] for path in folder.files()] == ["epoch-00000-step-000000007-"]
    folder.files()[0].write_bytes(b"")
    assert folder.read() is None


def test_resume_finds_the_same_training_only(tmp_path: Path) -> None:
    assert find_resumable(tmp_path, IDENTITY) is None
    same = TrainingFolder(tmp_path / "same")
    same.begin(IDENTITY)
    other = TrainingFolder(tmp_path / "other")
    other.begin({**IDENTITY, "batch_size": 32})
    os.utime(same.path / "training.json", (1, 1))
    found = find_resumable(tmp_path, IDENTITY)
    assert found is not None and found.training_id == "same"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("table_version", 4, "table version 3, now 4"),
        ("vocabulary", "xyz", "vocabulary abc, now xyz"),
        ("arch", "gru", "arch lstm, now gru"),
        ("batch_size", 32, "batch size 64, now 32"),
        ("model", {"hidden_dim": 16}, "hidden dim 8, now 16"),
    ],
)
def test_resume_says_what_differs_and_starts_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, value: object, said: str
) -> None:
    TrainingFolder(tmp_path / "before").begin(IDENTITY)
    assert find_resumable(tmp_path, {**IDENTITY, name: value}) is None
    assert f"before was started with other options: {said}. " in caplog.text


@pytest.mark.parametrize("content", ["{", '{"version": 1}', '{"version": 1e999, "identity": {}}', "[" * 100_000])
def test_resume_passes_over_a_record_that_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    TrainingFolder(tmp_path / "same").begin(IDENTITY)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "training.json").write_text(content)
    found = find_resumable(tmp_path, IDENTITY)
    assert found is not None and found.training_id == "same"
    assert f"skipped {tmp_path / 'broken'}" in caplog.text
    assert find_resumable(tmp_path, {**IDENTITY, "arch": "gru"}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("200", Interval(steps=200)), ("90s", Interval(seconds=90)), ("5m", Interval(seconds=300)), ("0", Interval())],
)
def test_intervals(text: str, expected: Interval) -> None:
    assert Interval.parse(text) == expected


@pytest.mark.parametrize("text", ["", "often", "-3", "1.5", "nans", "infm", "1e999h"])
def test_intervals_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--checkpoint-every"):
        Interval.parse(text)
